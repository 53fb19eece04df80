"""The tables of a sample site: names, columns, defaults and indexes as Moodle 4.5 has them.

This module defines the tables and not their rows. Types are SQLite's: every integer is ``INTEGER``,
every decimal ``REAL``, every text ``TEXT``. The log has all of its indexes; the other tables have
the unique ones and those that joins use. ``facetoface`` belongs to a plugin and not to Moodle; its
table lacks the texts of mails.
"""

from __future__ import annotations

_TABLES = """\
CREATE TABLE config (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL DEFAULT '', value TEXT NOT NULL DEFAULT ''
);
CREATE TABLE user (
    id INTEGER PRIMARY KEY, auth TEXT NOT NULL DEFAULT 'manual',
    confirmed INTEGER NOT NULL DEFAULT 0, policyagreed INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0, suspended INTEGER NOT NULL DEFAULT 0,
    mnethostid INTEGER NOT NULL DEFAULT 0, username TEXT NOT NULL DEFAULT '',
    password TEXT NOT NULL DEFAULT '', idnumber TEXT NOT NULL DEFAULT '',
    firstname TEXT NOT NULL DEFAULT '', lastname TEXT NOT NULL DEFAULT '',
    email TEXT NOT NULL DEFAULT '', emailstop INTEGER NOT NULL DEFAULT 0,
    phone1 TEXT NOT NULL DEFAULT '', phone2 TEXT NOT NULL DEFAULT '',
    institution TEXT NOT NULL DEFAULT '', department TEXT NOT NULL DEFAULT '',
    address TEXT NOT NULL DEFAULT '', city TEXT NOT NULL DEFAULT '',
    country TEXT NOT NULL DEFAULT '', lang TEXT NOT NULL DEFAULT 'en',
    calendartype TEXT NOT NULL DEFAULT 'gregorian', theme TEXT NOT NULL DEFAULT '',
    timezone TEXT NOT NULL DEFAULT '99', firstaccess INTEGER NOT NULL DEFAULT 0,
    lastaccess INTEGER NOT NULL DEFAULT 0, lastlogin INTEGER NOT NULL DEFAULT 0,
    currentlogin INTEGER NOT NULL DEFAULT 0, lastip TEXT NOT NULL DEFAULT '',
    secret TEXT NOT NULL DEFAULT '', picture INTEGER NOT NULL DEFAULT 0, description TEXT,
    descriptionformat INTEGER NOT NULL DEFAULT 1, mailformat INTEGER NOT NULL DEFAULT 1,
    maildigest INTEGER NOT NULL DEFAULT 0, maildisplay INTEGER NOT NULL DEFAULT 2,
    autosubscribe INTEGER NOT NULL DEFAULT 1, trackforums INTEGER NOT NULL DEFAULT 0,
    timecreated INTEGER NOT NULL DEFAULT 0, timemodified INTEGER NOT NULL DEFAULT 0,
    trustbitmask INTEGER NOT NULL DEFAULT 0, imagealt TEXT, lastnamephonetic TEXT,
    firstnamephonetic TEXT, middlename TEXT, alternatename TEXT, moodlenetprofile TEXT
);
CREATE TABLE course_categories (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL DEFAULT '', idnumber TEXT, description TEXT,
    descriptionformat INTEGER NOT NULL DEFAULT 0, parent INTEGER NOT NULL DEFAULT 0,
    sortorder INTEGER NOT NULL DEFAULT 0, coursecount INTEGER NOT NULL DEFAULT 0,
    visible INTEGER NOT NULL DEFAULT 1, visibleold INTEGER NOT NULL DEFAULT 1,
    timemodified INTEGER NOT NULL DEFAULT 0, depth INTEGER NOT NULL DEFAULT 0,
    path TEXT NOT NULL DEFAULT '', theme TEXT
);
CREATE TABLE course (
    id INTEGER PRIMARY KEY, category INTEGER NOT NULL DEFAULT 0,
    sortorder INTEGER NOT NULL DEFAULT 0, fullname TEXT NOT NULL DEFAULT '',
    shortname TEXT NOT NULL DEFAULT '', idnumber TEXT NOT NULL DEFAULT '', summary TEXT,
    summaryformat INTEGER NOT NULL DEFAULT 0, format TEXT NOT NULL DEFAULT 'topics',
    showgrades INTEGER NOT NULL DEFAULT 1, newsitems INTEGER NOT NULL DEFAULT 1,
    startdate INTEGER NOT NULL DEFAULT 0, enddate INTEGER NOT NULL DEFAULT 0,
    relativedatesmode INTEGER NOT NULL DEFAULT 0, marker INTEGER NOT NULL DEFAULT 0,
    maxbytes INTEGER NOT NULL DEFAULT 0, legacyfiles INTEGER NOT NULL DEFAULT 0,
    showreports INTEGER NOT NULL DEFAULT 0, visible INTEGER NOT NULL DEFAULT 1,
    visibleold INTEGER NOT NULL DEFAULT 1, downloadcontent INTEGER,
    groupmode INTEGER NOT NULL DEFAULT 0, groupmodeforce INTEGER NOT NULL DEFAULT 0,
    defaultgroupingid INTEGER NOT NULL DEFAULT 0, lang TEXT NOT NULL DEFAULT '',
    calendartype TEXT NOT NULL DEFAULT '', theme TEXT NOT NULL DEFAULT '',
    timecreated INTEGER NOT NULL DEFAULT 0, timemodified INTEGER NOT NULL DEFAULT 0,
    requested INTEGER NOT NULL DEFAULT 0, enablecompletion INTEGER NOT NULL DEFAULT 0,
    completionnotify INTEGER NOT NULL DEFAULT 0, cacherev INTEGER NOT NULL DEFAULT 0,
    originalcourseid INTEGER, showactivitydates INTEGER NOT NULL DEFAULT 0,
    showcompletionconditions INTEGER, pdfexportfont TEXT
);
CREATE TABLE course_sections (
    id INTEGER PRIMARY KEY, course INTEGER NOT NULL DEFAULT 0,
    section INTEGER NOT NULL DEFAULT 0, name TEXT, summary TEXT,
    summaryformat INTEGER NOT NULL DEFAULT 0, sequence TEXT, visible INTEGER NOT NULL DEFAULT 1,
    availability TEXT, component TEXT, itemid INTEGER, timemodified INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE modules (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL DEFAULT '', cron INTEGER NOT NULL DEFAULT 0,
    lastcron INTEGER NOT NULL DEFAULT 0, search TEXT NOT NULL DEFAULT '',
    visible INTEGER NOT NULL DEFAULT 1
);
CREATE TABLE course_modules (
    id INTEGER PRIMARY KEY, course INTEGER NOT NULL DEFAULT 0, module INTEGER NOT NULL DEFAULT 0,
    instance INTEGER NOT NULL DEFAULT 0, section INTEGER NOT NULL DEFAULT 0, idnumber TEXT,
    added INTEGER NOT NULL DEFAULT 0, score INTEGER NOT NULL DEFAULT 0,
    indent INTEGER NOT NULL DEFAULT 0, visible INTEGER NOT NULL DEFAULT 1,
    visibleoncoursepage INTEGER NOT NULL DEFAULT 1, visibleold INTEGER NOT NULL DEFAULT 1,
    groupmode INTEGER NOT NULL DEFAULT 0, groupingid INTEGER NOT NULL DEFAULT 0,
    completion INTEGER NOT NULL DEFAULT 0, completiongradeitemnumber INTEGER,
    completionview INTEGER NOT NULL DEFAULT 0, completionexpected INTEGER NOT NULL DEFAULT 0,
    completionpassgrade INTEGER NOT NULL DEFAULT 0, showdescription INTEGER NOT NULL DEFAULT 0,
    availability TEXT, deletioninprogress INTEGER NOT NULL DEFAULT 0,
    downloadcontent INTEGER DEFAULT 1, lang TEXT
);
CREATE TABLE context (
    id INTEGER PRIMARY KEY, contextlevel INTEGER NOT NULL DEFAULT 0,
    instanceid INTEGER NOT NULL DEFAULT 0, path TEXT, depth INTEGER NOT NULL DEFAULT 0,
    locked INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE role (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL DEFAULT '', shortname TEXT NOT NULL DEFAULT '',
    description TEXT NOT NULL DEFAULT '', sortorder INTEGER NOT NULL DEFAULT 0,
    archetype TEXT NOT NULL DEFAULT ''
);
CREATE TABLE role_assignments (
    id INTEGER PRIMARY KEY, roleid INTEGER NOT NULL DEFAULT 0,
    contextid INTEGER NOT NULL DEFAULT 0, userid INTEGER NOT NULL DEFAULT 0,
    timemodified INTEGER NOT NULL DEFAULT 0, modifierid INTEGER NOT NULL DEFAULT 0,
    component TEXT NOT NULL DEFAULT '', itemid INTEGER NOT NULL DEFAULT 0,
    sortorder INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE enrol (
    id INTEGER PRIMARY KEY, enrol TEXT NOT NULL DEFAULT '', status INTEGER NOT NULL DEFAULT 0,
    courseid INTEGER NOT NULL, sortorder INTEGER NOT NULL DEFAULT 0, name TEXT,
    enrolperiod INTEGER DEFAULT 0, enrolstartdate INTEGER DEFAULT 0,
    enrolenddate INTEGER DEFAULT 0, expirynotify INTEGER DEFAULT 0,
    expirythreshold INTEGER DEFAULT 0, notifyall INTEGER DEFAULT 0, password TEXT, cost TEXT,
    currency TEXT, roleid INTEGER DEFAULT 0, customint1 INTEGER, customint2 INTEGER,
    customint3 INTEGER, customint4 INTEGER, customint5 INTEGER, customint6 INTEGER,
    customint7 INTEGER, customint8 INTEGER, customchar1 TEXT, customchar2 TEXT, customchar3 TEXT,
    customdec1 REAL, customdec2 REAL, customtext1 TEXT, customtext2 TEXT, customtext3 TEXT,
    customtext4 TEXT, timecreated INTEGER NOT NULL DEFAULT 0,
    timemodified INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE user_enrolments (
    id INTEGER PRIMARY KEY, status INTEGER NOT NULL DEFAULT 0, enrolid INTEGER NOT NULL,
    userid INTEGER NOT NULL, timestart INTEGER NOT NULL DEFAULT 0,
    timeend INTEGER NOT NULL DEFAULT 2147483647, modifierid INTEGER NOT NULL DEFAULT 0,
    timecreated INTEGER NOT NULL DEFAULT 0, timemodified INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE groups (
    id INTEGER PRIMARY KEY, courseid INTEGER NOT NULL, idnumber TEXT NOT NULL DEFAULT '',
    name TEXT NOT NULL DEFAULT '', description TEXT,
    descriptionformat INTEGER NOT NULL DEFAULT 0, enrolmentkey TEXT,
    picture INTEGER NOT NULL DEFAULT 0, visibility INTEGER NOT NULL DEFAULT 0,
    participation INTEGER NOT NULL DEFAULT 1, timecreated INTEGER NOT NULL DEFAULT 0,
    timemodified INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE groups_members (
    id INTEGER PRIMARY KEY, groupid INTEGER NOT NULL DEFAULT 0,
    userid INTEGER NOT NULL DEFAULT 0, timeadded INTEGER NOT NULL DEFAULT 0,
    component TEXT NOT NULL DEFAULT '', itemid INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE scale (
    id INTEGER PRIMARY KEY, courseid INTEGER NOT NULL DEFAULT 0,
    userid INTEGER NOT NULL DEFAULT 0, name TEXT NOT NULL DEFAULT '',
    scale TEXT NOT NULL DEFAULT '', description TEXT NOT NULL DEFAULT '',
    descriptionformat INTEGER NOT NULL DEFAULT 0, timemodified INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE grade_items (
    id INTEGER PRIMARY KEY, courseid INTEGER, categoryid INTEGER, itemname TEXT,
    itemtype TEXT NOT NULL DEFAULT '', itemmodule TEXT, iteminstance INTEGER, itemnumber INTEGER,
    iteminfo TEXT, idnumber TEXT, calculation TEXT, gradetype INTEGER NOT NULL DEFAULT 1,
    grademax REAL NOT NULL DEFAULT 100, grademin REAL NOT NULL DEFAULT 0, scaleid INTEGER,
    outcomeid INTEGER, gradepass REAL NOT NULL DEFAULT 0, multfactor REAL NOT NULL DEFAULT 1,
    plusfactor REAL NOT NULL DEFAULT 0, aggregationcoef REAL NOT NULL DEFAULT 0,
    aggregationcoef2 REAL NOT NULL DEFAULT 0, sortorder INTEGER NOT NULL DEFAULT 0,
    display INTEGER NOT NULL DEFAULT 0, decimals INTEGER, hidden INTEGER NOT NULL DEFAULT 0,
    locked INTEGER NOT NULL DEFAULT 0, locktime INTEGER NOT NULL DEFAULT 0,
    needsupdate INTEGER NOT NULL DEFAULT 0, weightoverride INTEGER NOT NULL DEFAULT 0,
    timecreated INTEGER, timemodified INTEGER
);
CREATE TABLE grade_grades (
    id INTEGER PRIMARY KEY, itemid INTEGER NOT NULL, userid INTEGER NOT NULL, rawgrade REAL,
    rawgrademax REAL NOT NULL DEFAULT 100, rawgrademin REAL NOT NULL DEFAULT 0,
    rawscaleid INTEGER, usermodified INTEGER, finalgrade REAL, hidden INTEGER NOT NULL DEFAULT 0,
    locked INTEGER NOT NULL DEFAULT 0, locktime INTEGER NOT NULL DEFAULT 0,
    exported INTEGER NOT NULL DEFAULT 0, overridden INTEGER NOT NULL DEFAULT 0,
    excluded INTEGER NOT NULL DEFAULT 0, feedback TEXT,
    feedbackformat INTEGER NOT NULL DEFAULT 0, information TEXT,
    informationformat INTEGER NOT NULL DEFAULT 0, timecreated INTEGER, timemodified INTEGER,
    aggregationstatus TEXT NOT NULL DEFAULT 'unknown', aggregationweight REAL
);
CREATE TABLE grade_grades_history (
    id INTEGER PRIMARY KEY, action INTEGER NOT NULL DEFAULT 0, oldid INTEGER NOT NULL,
    source TEXT, timemodified INTEGER, loggeduser INTEGER, itemid INTEGER NOT NULL,
    userid INTEGER NOT NULL, rawgrade REAL, rawgrademax REAL NOT NULL DEFAULT 100,
    rawgrademin REAL NOT NULL DEFAULT 0, rawscaleid INTEGER, usermodified INTEGER,
    finalgrade REAL, hidden INTEGER NOT NULL DEFAULT 0, locked INTEGER NOT NULL DEFAULT 0,
    locktime INTEGER NOT NULL DEFAULT 0, exported INTEGER NOT NULL DEFAULT 0,
    overridden INTEGER NOT NULL DEFAULT 0, excluded INTEGER NOT NULL DEFAULT 0, feedback TEXT,
    feedbackformat INTEGER NOT NULL DEFAULT 0, information TEXT,
    informationformat INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE files (
    id INTEGER PRIMARY KEY, contenthash TEXT NOT NULL DEFAULT '',
    pathnamehash TEXT NOT NULL DEFAULT '', contextid INTEGER NOT NULL,
    component TEXT NOT NULL DEFAULT '', filearea TEXT NOT NULL DEFAULT '',
    itemid INTEGER NOT NULL, filepath TEXT NOT NULL DEFAULT '',
    filename TEXT NOT NULL DEFAULT '', userid INTEGER, filesize INTEGER NOT NULL, mimetype TEXT,
    status INTEGER NOT NULL DEFAULT 0, source TEXT, author TEXT, license TEXT,
    timecreated INTEGER NOT NULL, timemodified INTEGER NOT NULL,
    sortorder INTEGER NOT NULL DEFAULT 0, referencefileid INTEGER
);
CREATE TABLE quiz (
    id INTEGER PRIMARY KEY, course INTEGER NOT NULL DEFAULT 0, name TEXT NOT NULL DEFAULT '',
    intro TEXT NOT NULL DEFAULT '', introformat INTEGER NOT NULL DEFAULT 0,
    timeopen INTEGER NOT NULL DEFAULT 0, timeclose INTEGER NOT NULL DEFAULT 0,
    timelimit INTEGER NOT NULL DEFAULT 0, overduehandling TEXT NOT NULL DEFAULT 'autoabandon',
    graceperiod INTEGER NOT NULL DEFAULT 0, preferredbehaviour TEXT NOT NULL DEFAULT '',
    canredoquestions INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,
    attemptonlast INTEGER NOT NULL DEFAULT 0, grademethod INTEGER NOT NULL DEFAULT 1,
    decimalpoints INTEGER NOT NULL DEFAULT 2, questiondecimalpoints INTEGER NOT NULL DEFAULT -1,
    reviewattempt INTEGER NOT NULL DEFAULT 0, reviewcorrectness INTEGER NOT NULL DEFAULT 0,
    reviewmaxmarks INTEGER NOT NULL DEFAULT 0, reviewmarks INTEGER NOT NULL DEFAULT 0,
    reviewspecificfeedback INTEGER NOT NULL DEFAULT 0,
    reviewgeneralfeedback INTEGER NOT NULL DEFAULT 0,
    reviewrightanswer INTEGER NOT NULL DEFAULT 0,
    reviewoverallfeedback INTEGER NOT NULL DEFAULT 0,
    questionsperpage INTEGER NOT NULL DEFAULT 0, navmethod TEXT NOT NULL DEFAULT 'free',
    shuffleanswers INTEGER NOT NULL DEFAULT 0, sumgrades REAL NOT NULL DEFAULT 0,
    grade REAL NOT NULL DEFAULT 0, timecreated INTEGER NOT NULL DEFAULT 0,
    timemodified INTEGER NOT NULL DEFAULT 0, password TEXT NOT NULL DEFAULT '',
    subnet TEXT NOT NULL DEFAULT '', browsersecurity TEXT NOT NULL DEFAULT '',
    delay1 INTEGER NOT NULL DEFAULT 0, delay2 INTEGER NOT NULL DEFAULT 0,
    showuserpicture INTEGER NOT NULL DEFAULT 0, showblocks INTEGER NOT NULL DEFAULT 0,
    completionattemptsexhausted INTEGER DEFAULT 0,
    completionminattempts INTEGER NOT NULL DEFAULT 0, allowofflineattempts INTEGER DEFAULT 0
);
CREATE TABLE quiz_attempts (
    id INTEGER PRIMARY KEY, quiz INTEGER NOT NULL DEFAULT 0, userid INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL DEFAULT 0, uniqueid INTEGER NOT NULL DEFAULT 0,
    layout TEXT NOT NULL DEFAULT '', currentpage INTEGER NOT NULL DEFAULT 0,
    preview INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL DEFAULT 'inprogress',
    timestart INTEGER NOT NULL DEFAULT 0, timefinish INTEGER NOT NULL DEFAULT 0,
    timemodified INTEGER NOT NULL DEFAULT 0, timemodifiedoffline INTEGER NOT NULL DEFAULT 0,
    timecheckstate INTEGER DEFAULT 0, sumgrades REAL, gradednotificationsenttime INTEGER
);
CREATE TABLE quiz_grades (
    id INTEGER PRIMARY KEY, quiz INTEGER NOT NULL DEFAULT 0, userid INTEGER NOT NULL DEFAULT 0,
    grade REAL NOT NULL DEFAULT 0, timemodified INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE assign (
    id INTEGER PRIMARY KEY, course INTEGER NOT NULL DEFAULT 0, name TEXT NOT NULL DEFAULT '',
    intro TEXT NOT NULL DEFAULT '', introformat INTEGER NOT NULL DEFAULT 0,
    alwaysshowdescription INTEGER NOT NULL DEFAULT 0, nosubmissions INTEGER NOT NULL DEFAULT 0,
    submissiondrafts INTEGER NOT NULL DEFAULT 0, sendnotifications INTEGER NOT NULL DEFAULT 0,
    sendlatenotifications INTEGER NOT NULL DEFAULT 0, duedate INTEGER NOT NULL DEFAULT 0,
    allowsubmissionsfromdate INTEGER NOT NULL DEFAULT 0, grade INTEGER NOT NULL DEFAULT 0,
    timemodified INTEGER NOT NULL DEFAULT 0,
    requiresubmissionstatement INTEGER NOT NULL DEFAULT 0,
    completionsubmit INTEGER NOT NULL DEFAULT 0, cutoffdate INTEGER NOT NULL DEFAULT 0,
    gradingduedate INTEGER NOT NULL DEFAULT 0, teamsubmission INTEGER NOT NULL DEFAULT 0,
    requireallteammemberssubmit INTEGER NOT NULL DEFAULT 0,
    teamsubmissiongroupingid INTEGER NOT NULL DEFAULT 0, blindmarking INTEGER NOT NULL DEFAULT 0,
    hidegrader INTEGER NOT NULL DEFAULT 0, revealidentities INTEGER NOT NULL DEFAULT 0,
    attemptreopenmethod TEXT NOT NULL DEFAULT 'untilpass',
    maxattempts INTEGER NOT NULL DEFAULT 1, markingworkflow INTEGER NOT NULL DEFAULT 0,
    markingallocation INTEGER NOT NULL DEFAULT 0, markinganonymous INTEGER NOT NULL DEFAULT 0,
    sendstudentnotifications INTEGER NOT NULL DEFAULT 1,
    preventsubmissionnotingroup INTEGER NOT NULL DEFAULT 0, activity TEXT,
    activityformat INTEGER NOT NULL DEFAULT 0, timelimit INTEGER NOT NULL DEFAULT 0,
    submissionattachments INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE assign_submission (
    id INTEGER PRIMARY KEY, assignment INTEGER NOT NULL DEFAULT 0,
    userid INTEGER NOT NULL DEFAULT 0, timecreated INTEGER NOT NULL DEFAULT 0,
    timemodified INTEGER NOT NULL DEFAULT 0, timestarted INTEGER, status TEXT,
    groupid INTEGER NOT NULL DEFAULT 0, attemptnumber INTEGER NOT NULL DEFAULT 0,
    latest INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE assign_grades (
    id INTEGER PRIMARY KEY, assignment INTEGER NOT NULL DEFAULT 0,
    userid INTEGER NOT NULL DEFAULT 0, timecreated INTEGER NOT NULL DEFAULT 0,
    timemodified INTEGER NOT NULL DEFAULT 0, grader INTEGER NOT NULL DEFAULT 0,
    grade REAL DEFAULT 0, attemptnumber INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE forum (
    id INTEGER PRIMARY KEY, course INTEGER NOT NULL DEFAULT 0,
    type TEXT NOT NULL DEFAULT 'general', name TEXT NOT NULL DEFAULT '',
    intro TEXT NOT NULL DEFAULT '', introformat INTEGER NOT NULL DEFAULT 0,
    duedate INTEGER NOT NULL DEFAULT 0, cutoffdate INTEGER NOT NULL DEFAULT 0,
    assessed INTEGER NOT NULL DEFAULT 0, assesstimestart INTEGER NOT NULL DEFAULT 0,
    assesstimefinish INTEGER NOT NULL DEFAULT 0, scale INTEGER NOT NULL DEFAULT 0,
    grade_forum INTEGER NOT NULL DEFAULT 0, grade_forum_notify INTEGER NOT NULL DEFAULT 0,
    maxbytes INTEGER NOT NULL DEFAULT 0, maxattachments INTEGER NOT NULL DEFAULT 1,
    forcesubscribe INTEGER NOT NULL DEFAULT 0, trackingtype INTEGER NOT NULL DEFAULT 1,
    rsstype INTEGER NOT NULL DEFAULT 0, rssarticles INTEGER NOT NULL DEFAULT 0,
    timemodified INTEGER NOT NULL DEFAULT 0, warnafter INTEGER NOT NULL DEFAULT 0,
    blockafter INTEGER NOT NULL DEFAULT 0, blockperiod INTEGER NOT NULL DEFAULT 0,
    completiondiscussions INTEGER NOT NULL DEFAULT 0,
    completionreplies INTEGER NOT NULL DEFAULT 0, completionposts INTEGER NOT NULL DEFAULT 0,
    displaywordcount INTEGER NOT NULL DEFAULT 0, lockdiscussionafter INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE forum_discussions (
    id INTEGER PRIMARY KEY, course INTEGER NOT NULL DEFAULT 0, forum INTEGER NOT NULL DEFAULT 0,
    name TEXT NOT NULL DEFAULT '', firstpost INTEGER NOT NULL DEFAULT 0,
    userid INTEGER NOT NULL DEFAULT 0, groupid INTEGER NOT NULL DEFAULT -1,
    assessed INTEGER NOT NULL DEFAULT 1, timemodified INTEGER NOT NULL DEFAULT 0,
    usermodified INTEGER NOT NULL DEFAULT 0, timestart INTEGER NOT NULL DEFAULT 0,
    timeend INTEGER NOT NULL DEFAULT 0, pinned INTEGER NOT NULL DEFAULT 0,
    timelocked INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE forum_posts (
    id INTEGER PRIMARY KEY, discussion INTEGER NOT NULL DEFAULT 0,
    parent INTEGER NOT NULL DEFAULT 0, userid INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL DEFAULT 0, modified INTEGER NOT NULL DEFAULT 0,
    mailed INTEGER NOT NULL DEFAULT 0, subject TEXT NOT NULL DEFAULT '',
    message TEXT NOT NULL DEFAULT '', messageformat INTEGER NOT NULL DEFAULT 0,
    messagetrust INTEGER NOT NULL DEFAULT 0, attachment TEXT NOT NULL DEFAULT '',
    totalscore INTEGER NOT NULL DEFAULT 0, mailnow INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0, privatereplyto INTEGER NOT NULL DEFAULT 0,
    wordcount INTEGER, charcount INTEGER
);
CREATE TABLE book (
    id INTEGER PRIMARY KEY, course INTEGER NOT NULL DEFAULT 0, name TEXT NOT NULL DEFAULT '',
    intro TEXT, introformat INTEGER NOT NULL DEFAULT 0, numbering INTEGER NOT NULL DEFAULT 0,
    navstyle INTEGER NOT NULL DEFAULT 1, customtitles INTEGER NOT NULL DEFAULT 0,
    revision INTEGER NOT NULL DEFAULT 0, timecreated INTEGER NOT NULL DEFAULT 0,
    timemodified INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE chat (
    id INTEGER PRIMARY KEY, course INTEGER NOT NULL DEFAULT 0, name TEXT NOT NULL DEFAULT '',
    intro TEXT NOT NULL DEFAULT '', introformat INTEGER NOT NULL DEFAULT 0,
    keepdays INTEGER NOT NULL DEFAULT 0, studentlogs INTEGER NOT NULL DEFAULT 0,
    chattime INTEGER NOT NULL DEFAULT 0, schedule INTEGER NOT NULL DEFAULT 0,
    timemodified INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE choice (
    id INTEGER PRIMARY KEY, course INTEGER NOT NULL DEFAULT 0, name TEXT NOT NULL DEFAULT '',
    intro TEXT NOT NULL DEFAULT '', introformat INTEGER NOT NULL DEFAULT 0,
    publish INTEGER NOT NULL DEFAULT 0, showresults INTEGER NOT NULL DEFAULT 0,
    display INTEGER NOT NULL DEFAULT 0, allowupdate INTEGER NOT NULL DEFAULT 0,
    allowmultiple INTEGER NOT NULL DEFAULT 0, showunanswered INTEGER NOT NULL DEFAULT 0,
    includeinactive INTEGER NOT NULL DEFAULT 1, limitanswers INTEGER NOT NULL DEFAULT 0,
    timeopen INTEGER NOT NULL DEFAULT 0, timeclose INTEGER NOT NULL DEFAULT 0,
    showpreview INTEGER NOT NULL DEFAULT 0, timemodified INTEGER NOT NULL DEFAULT 0,
    completionsubmit INTEGER NOT NULL DEFAULT 0, showavailable INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE data (
    id INTEGER PRIMARY KEY, course INTEGER NOT NULL DEFAULT 0, name TEXT NOT NULL DEFAULT '',
    intro TEXT NOT NULL DEFAULT '', introformat INTEGER NOT NULL DEFAULT 0,
    comments INTEGER NOT NULL DEFAULT 0, timeavailablefrom INTEGER NOT NULL DEFAULT 0,
    timeavailableto INTEGER NOT NULL DEFAULT 0, timeviewfrom INTEGER NOT NULL DEFAULT 0,
    timeviewto INTEGER NOT NULL DEFAULT 0, requiredentries INTEGER NOT NULL DEFAULT 0,
    requiredentriestoview INTEGER NOT NULL DEFAULT 0, maxentries INTEGER NOT NULL DEFAULT 0,
    rssarticles INTEGER NOT NULL DEFAULT 0, singletemplate TEXT, listtemplate TEXT,
    listtemplateheader TEXT, listtemplatefooter TEXT, addtemplate TEXT, rsstemplate TEXT,
    rsstitletemplate TEXT, csstemplate TEXT, jstemplate TEXT, asearchtemplate TEXT,
    approval INTEGER NOT NULL DEFAULT 0, manageapproved INTEGER NOT NULL DEFAULT 1,
    scale INTEGER NOT NULL DEFAULT 0, assessed INTEGER NOT NULL DEFAULT 0,
    assesstimestart INTEGER NOT NULL DEFAULT 0, assesstimefinish INTEGER NOT NULL DEFAULT 0,
    defaultsort INTEGER NOT NULL DEFAULT 0, defaultsortdir INTEGER NOT NULL DEFAULT 0,
    editany INTEGER NOT NULL DEFAULT 0, notification INTEGER NOT NULL DEFAULT 0,
    timemodified INTEGER NOT NULL DEFAULT 0, config TEXT, completionentries INTEGER DEFAULT 0
);
CREATE TABLE feedback (
    id INTEGER PRIMARY KEY, course INTEGER NOT NULL DEFAULT 0, name TEXT NOT NULL DEFAULT '',
    intro TEXT NOT NULL DEFAULT '', introformat INTEGER NOT NULL DEFAULT 0,
    anonymous INTEGER NOT NULL DEFAULT 1, email_notification INTEGER NOT NULL DEFAULT 1,
    multiple_submit INTEGER NOT NULL DEFAULT 1, autonumbering INTEGER NOT NULL DEFAULT 1,
    site_after_submit TEXT NOT NULL DEFAULT '', page_after_submit TEXT NOT NULL DEFAULT '',
    page_after_submitformat INTEGER NOT NULL DEFAULT 0, publish_stats INTEGER NOT NULL DEFAULT 0,
    timeopen INTEGER NOT NULL DEFAULT 0, timeclose INTEGER NOT NULL DEFAULT 0,
    timemodified INTEGER NOT NULL DEFAULT 0, completionsubmit INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE facetoface (
    id INTEGER PRIMARY KEY, course INTEGER NOT NULL DEFAULT 0, name TEXT, intro TEXT,
    introformat INTEGER NOT NULL DEFAULT 0, thirdparty TEXT,
    thirdpartywaitlist INTEGER NOT NULL DEFAULT 0, display INTEGER NOT NULL DEFAULT 0,
    timecreated INTEGER NOT NULL DEFAULT 0, timemodified INTEGER NOT NULL DEFAULT 0,
    shortname TEXT, showoncalendar INTEGER NOT NULL DEFAULT 1,
    approvalreqd INTEGER NOT NULL DEFAULT 0, usercalentry INTEGER NOT NULL DEFAULT 1,
    allowcancellationsdefault INTEGER NOT NULL DEFAULT 1, signuptype INTEGER NOT NULL DEFAULT 0,
    multiplesignupmethod INTEGER NOT NULL DEFAULT 0,
    completionattendance INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE folder (
    id INTEGER PRIMARY KEY, course INTEGER NOT NULL DEFAULT 0, name TEXT NOT NULL DEFAULT '',
    intro TEXT, introformat INTEGER NOT NULL DEFAULT 0, revision INTEGER NOT NULL DEFAULT 0,
    timemodified INTEGER NOT NULL DEFAULT 0, display INTEGER NOT NULL DEFAULT 0,
    showexpanded INTEGER NOT NULL DEFAULT 1, showdownloadfolder INTEGER NOT NULL DEFAULT 1,
    forcedownload INTEGER NOT NULL DEFAULT 1
);
CREATE TABLE glossary (
    id INTEGER PRIMARY KEY, course INTEGER NOT NULL DEFAULT 0, name TEXT NOT NULL DEFAULT '',
    intro TEXT NOT NULL DEFAULT '', introformat INTEGER NOT NULL DEFAULT 0,
    allowduplicatedentries INTEGER NOT NULL DEFAULT 0,
    displayformat TEXT NOT NULL DEFAULT 'dictionary', mainglossary INTEGER NOT NULL DEFAULT 0,
    showspecial INTEGER NOT NULL DEFAULT 1, showalphabet INTEGER NOT NULL DEFAULT 1,
    showall INTEGER NOT NULL DEFAULT 1, allowcomments INTEGER NOT NULL DEFAULT 0,
    allowprintview INTEGER NOT NULL DEFAULT 1, usedynalink INTEGER NOT NULL DEFAULT 1,
    defaultapproval INTEGER NOT NULL DEFAULT 1,
    approvaldisplayformat TEXT NOT NULL DEFAULT 'default',
    globalglossary INTEGER NOT NULL DEFAULT 0, entbypage INTEGER NOT NULL DEFAULT 10,
    editalways INTEGER NOT NULL DEFAULT 0, rsstype INTEGER NOT NULL DEFAULT 0,
    rssarticles INTEGER NOT NULL DEFAULT 0, assessed INTEGER NOT NULL DEFAULT 0,
    assesstimestart INTEGER NOT NULL DEFAULT 0, assesstimefinish INTEGER NOT NULL DEFAULT 0,
    scale INTEGER NOT NULL DEFAULT 0, timecreated INTEGER NOT NULL DEFAULT 0,
    timemodified INTEGER NOT NULL DEFAULT 0, completionentries INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE imscp (
    id INTEGER PRIMARY KEY, course INTEGER NOT NULL DEFAULT 0, name TEXT NOT NULL DEFAULT '',
    intro TEXT, introformat INTEGER NOT NULL DEFAULT 0, revision INTEGER NOT NULL DEFAULT 0,
    keepold INTEGER NOT NULL DEFAULT -1, structure TEXT, timemodified INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE lesson (
    id INTEGER PRIMARY KEY, course INTEGER NOT NULL DEFAULT 0, name TEXT NOT NULL DEFAULT '',
    intro TEXT, introformat INTEGER NOT NULL DEFAULT 0, practice INTEGER NOT NULL DEFAULT 0,
    modattempts INTEGER NOT NULL DEFAULT 0, usepassword INTEGER NOT NULL DEFAULT 0,
    password TEXT NOT NULL DEFAULT '', dependency INTEGER NOT NULL DEFAULT 0,
    conditions TEXT NOT NULL DEFAULT '', grade INTEGER NOT NULL DEFAULT 0,
    custom INTEGER NOT NULL DEFAULT 0, ongoing INTEGER NOT NULL DEFAULT 0,
    usemaxgrade INTEGER NOT NULL DEFAULT 0, maxanswers INTEGER NOT NULL DEFAULT 4,
    maxattempts INTEGER NOT NULL DEFAULT 5, review INTEGER NOT NULL DEFAULT 0,
    nextpagedefault INTEGER NOT NULL DEFAULT 0, feedback INTEGER NOT NULL DEFAULT 1,
    minquestions INTEGER NOT NULL DEFAULT 0, maxpages INTEGER NOT NULL DEFAULT 0,
    timelimit INTEGER NOT NULL DEFAULT 0, retake INTEGER NOT NULL DEFAULT 1,
    activitylink INTEGER NOT NULL DEFAULT 0, mediafile TEXT NOT NULL DEFAULT '',
    mediaheight INTEGER NOT NULL DEFAULT 100, mediawidth INTEGER NOT NULL DEFAULT 650,
    mediaclose INTEGER NOT NULL DEFAULT 0, slideshow INTEGER NOT NULL DEFAULT 0,
    width INTEGER NOT NULL DEFAULT 640, height INTEGER NOT NULL DEFAULT 480,
    bgcolor TEXT NOT NULL DEFAULT '#FFFFFF', displayleft INTEGER NOT NULL DEFAULT 0,
    displayleftif INTEGER NOT NULL DEFAULT 0, progressbar INTEGER NOT NULL DEFAULT 0,
    available INTEGER NOT NULL DEFAULT 0, deadline INTEGER NOT NULL DEFAULT 0,
    timemodified INTEGER NOT NULL DEFAULT 0, completionendreached INTEGER DEFAULT 0,
    completiontimespent INTEGER DEFAULT 0, allowofflineattempts INTEGER DEFAULT 0
);
CREATE TABLE lti (
    id INTEGER PRIMARY KEY, course INTEGER NOT NULL DEFAULT 0, name TEXT NOT NULL DEFAULT '',
    intro TEXT, introformat INTEGER DEFAULT 0, timecreated INTEGER NOT NULL DEFAULT 0,
    timemodified INTEGER NOT NULL DEFAULT 0, typeid INTEGER, toolurl TEXT NOT NULL DEFAULT '',
    securetoolurl TEXT, instructorchoicesendname INTEGER, instructorchoicesendemailaddr INTEGER,
    instructorchoiceallowroster INTEGER, instructorchoiceallowsetting INTEGER,
    instructorcustomparameters TEXT, instructorchoiceacceptgrades INTEGER,
    grade INTEGER NOT NULL DEFAULT 100, launchcontainer INTEGER NOT NULL DEFAULT 1,
    resourcekey TEXT, password TEXT, debuglaunch INTEGER NOT NULL DEFAULT 0,
    showtitlelaunch INTEGER NOT NULL DEFAULT 0, showdescriptionlaunch INTEGER NOT NULL DEFAULT 0,
    servicesalt TEXT, icon TEXT, secureicon TEXT
);
CREATE TABLE page (
    id INTEGER PRIMARY KEY, course INTEGER NOT NULL DEFAULT 0, name TEXT NOT NULL DEFAULT '',
    intro TEXT, introformat INTEGER NOT NULL DEFAULT 0, content TEXT,
    contentformat INTEGER NOT NULL DEFAULT 0, legacyfiles INTEGER NOT NULL DEFAULT 0,
    legacyfileslast INTEGER, display INTEGER NOT NULL DEFAULT 0, displayoptions TEXT,
    revision INTEGER NOT NULL DEFAULT 0, timemodified INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE resource (
    id INTEGER PRIMARY KEY, course INTEGER NOT NULL DEFAULT 0, name TEXT NOT NULL DEFAULT '',
    intro TEXT, introformat INTEGER NOT NULL DEFAULT 0, tobemigrated INTEGER NOT NULL DEFAULT 0,
    legacyfiles INTEGER NOT NULL DEFAULT 0, legacyfileslast INTEGER,
    display INTEGER NOT NULL DEFAULT 0, displayoptions TEXT,
    filterfiles INTEGER NOT NULL DEFAULT 0, revision INTEGER NOT NULL DEFAULT 0,
    timemodified INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE scorm (
    id INTEGER PRIMARY KEY, course INTEGER NOT NULL DEFAULT 0, name TEXT NOT NULL DEFAULT '',
    scormtype TEXT NOT NULL DEFAULT 'local', reference TEXT NOT NULL DEFAULT '',
    intro TEXT NOT NULL DEFAULT '', introformat INTEGER NOT NULL DEFAULT 0,
    version TEXT NOT NULL DEFAULT '', maxgrade REAL NOT NULL DEFAULT 0,
    grademethod INTEGER NOT NULL DEFAULT 0, whatgrade INTEGER NOT NULL DEFAULT 0,
    maxattempt INTEGER NOT NULL DEFAULT 1, forcecompleted INTEGER NOT NULL DEFAULT 0,
    forcenewattempt INTEGER NOT NULL DEFAULT 0, lastattemptlock INTEGER NOT NULL DEFAULT 0,
    masteryoverride INTEGER NOT NULL DEFAULT 1, displayattemptstatus INTEGER NOT NULL DEFAULT 1,
    displaycoursestructure INTEGER NOT NULL DEFAULT 0, updatefreq INTEGER NOT NULL DEFAULT 0,
    sha1hash TEXT, md5hash TEXT NOT NULL DEFAULT '', revision INTEGER NOT NULL DEFAULT 0,
    launch INTEGER NOT NULL DEFAULT 0, skipview INTEGER NOT NULL DEFAULT 1,
    hidebrowse INTEGER NOT NULL DEFAULT 0, hidetoc INTEGER NOT NULL DEFAULT 0,
    nav INTEGER NOT NULL DEFAULT 1, navpositionleft INTEGER DEFAULT -100,
    navpositiontop INTEGER DEFAULT -100, auto INTEGER NOT NULL DEFAULT 0,
    popup INTEGER NOT NULL DEFAULT 0, options TEXT NOT NULL DEFAULT '',
    width INTEGER NOT NULL DEFAULT 100, height INTEGER NOT NULL DEFAULT 600,
    timeopen INTEGER NOT NULL DEFAULT 0, timeclose INTEGER NOT NULL DEFAULT 0,
    timemodified INTEGER NOT NULL DEFAULT 0, completionstatusrequired INTEGER,
    completionscorerequired INTEGER, completionstatusallscos INTEGER,
    autocommit INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE survey (
    id INTEGER PRIMARY KEY, course INTEGER NOT NULL DEFAULT 0,
    template INTEGER NOT NULL DEFAULT 0, days INTEGER NOT NULL DEFAULT 0,
    timecreated INTEGER NOT NULL DEFAULT 0, timemodified INTEGER NOT NULL DEFAULT 0,
    name TEXT NOT NULL DEFAULT '', intro TEXT NOT NULL DEFAULT '',
    introformat INTEGER NOT NULL DEFAULT 0, questions TEXT NOT NULL DEFAULT '',
    completionsubmit INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE url (
    id INTEGER PRIMARY KEY, course INTEGER NOT NULL DEFAULT 0, name TEXT NOT NULL DEFAULT '',
    intro TEXT, introformat INTEGER NOT NULL DEFAULT 0, externalurl TEXT NOT NULL DEFAULT '',
    display INTEGER NOT NULL DEFAULT 0, displayoptions TEXT, parameters TEXT,
    timemodified INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE wiki (
    id INTEGER PRIMARY KEY, course INTEGER NOT NULL DEFAULT 0, name TEXT NOT NULL DEFAULT 'Wiki',
    intro TEXT, introformat INTEGER NOT NULL DEFAULT 0, timecreated INTEGER NOT NULL DEFAULT 0,
    timemodified INTEGER NOT NULL DEFAULT 0, firstpagetitle TEXT NOT NULL DEFAULT 'First Page',
    wikimode TEXT NOT NULL DEFAULT 'collaborative', defaultformat TEXT NOT NULL DEFAULT 'creole',
    forceformat INTEGER NOT NULL DEFAULT 1, editbegin INTEGER NOT NULL DEFAULT 0,
    editend INTEGER DEFAULT 0
);
CREATE TABLE workshop (
    id INTEGER PRIMARY KEY, course INTEGER NOT NULL, name TEXT NOT NULL DEFAULT '', intro TEXT,
    introformat INTEGER NOT NULL DEFAULT 0, instructauthors TEXT,
    instructauthorsformat INTEGER NOT NULL DEFAULT 0, instructreviewers TEXT,
    instructreviewersformat INTEGER NOT NULL DEFAULT 0, timemodified INTEGER NOT NULL,
    phase INTEGER DEFAULT 0, useexamples INTEGER DEFAULT 0, usepeerassessment INTEGER DEFAULT 0,
    useselfassessment INTEGER DEFAULT 0, grade REAL DEFAULT 80, gradinggrade REAL DEFAULT 20,
    strategy TEXT NOT NULL DEFAULT '', evaluation TEXT NOT NULL DEFAULT '',
    gradedecimals INTEGER DEFAULT 0, submissiontypetext INTEGER NOT NULL DEFAULT 1,
    submissiontypefile INTEGER NOT NULL DEFAULT 1, nattachments INTEGER DEFAULT 1,
    submissionfiletypes TEXT, latesubmissions INTEGER DEFAULT 0, maxbytes INTEGER DEFAULT 100000,
    examplesmode INTEGER DEFAULT 0, submissionstart INTEGER DEFAULT 0,
    submissionend INTEGER DEFAULT 0, assessmentstart INTEGER DEFAULT 0,
    assessmentend INTEGER DEFAULT 0, phaseswitchassessment INTEGER NOT NULL DEFAULT 0,
    conclusion TEXT, conclusionformat INTEGER NOT NULL DEFAULT 1,
    overallfeedbackmode INTEGER DEFAULT 1, overallfeedbackfiles INTEGER DEFAULT 0,
    overallfeedbackfiletypes TEXT, overallfeedbackmaxbytes INTEGER DEFAULT 100000
);
CREATE TABLE logstore_standard_log (
    id INTEGER PRIMARY KEY, eventname TEXT NOT NULL DEFAULT '',
    component TEXT NOT NULL DEFAULT '', action TEXT NOT NULL DEFAULT '',
    target TEXT NOT NULL DEFAULT '', objecttable TEXT, objectid INTEGER,
    crud TEXT NOT NULL DEFAULT '', edulevel INTEGER NOT NULL, contextid INTEGER NOT NULL,
    contextlevel INTEGER NOT NULL, contextinstanceid INTEGER NOT NULL, userid INTEGER NOT NULL,
    courseid INTEGER, relateduserid INTEGER, anonymous INTEGER NOT NULL DEFAULT 0, other TEXT,
    timecreated INTEGER NOT NULL, origin TEXT, ip TEXT, realuserid INTEGER
);
"""

# table, index, columns; an index whose name ends in `uix` is unique.
_INDEXES = (
    ("config", "conf_nam_uix", "name"),
    ("user", "user_mneuse_uix", "mnethostid, username"),
    ("course_categories", "courcate_par_ix", "parent"),
    ("course", "cour_cat_ix", "category"),
    ("course", "cour_sho_ix", "shortname"),
    ("course_sections", "coursect_cousec_uix", "course, section"),
    ("modules", "modu_nam_ix", "name"),
    ("course_modules", "courmodu_cou_ix", "course"),
    ("course_modules", "courmodu_ins_ix", "instance"),
    ("course_modules", "courmodu_mod_ix", "module"),
    ("context", "cont_conins_uix", "contextlevel, instanceid"),
    ("context", "cont_pat_ix", "path"),
    ("role", "role_sho_uix", "shortname"),
    ("role", "role_sor_uix", "sortorder"),
    ("role_assignments", "roleassi_con_ix", "contextid"),
    ("role_assignments", "roleassi_rolcon_ix", "roleid, contextid"),
    ("role_assignments", "roleassi_useconrol_ix", "userid, contextid, roleid"),
    ("enrol", "enro_cou_ix", "courseid"),
    ("user_enrolments", "userenro_enruse_uix", "enrolid, userid"),
    ("user_enrolments", "userenro_use_ix", "userid"),
    ("groups", "grou_cou_ix", "courseid"),
    ("groups_members", "groumemb_gro_ix", "groupid"),
    ("groups_members", "groumemb_usegro_uix", "userid, groupid"),
    ("grade_items", "graditem_cou_ix", "courseid"),
    ("grade_items", "graditem_iteiteitecou_ix", "itemtype, itemmodule, iteminstance, courseid"),
    ("grade_grades", "gradgrad_ite_ix", "itemid"),
    ("grade_grades", "gradgrad_useite_uix", "userid, itemid"),
    ("grade_grades_history", "gradgradhist_useitetim_ix", "userid, itemid, timemodified"),
    ("files", "file_comfilconite_ix", "component, filearea, contextid, itemid"),
    ("files", "file_pat_uix", "pathnamehash"),
    ("quiz_attempts", "quizatte_quiuseatt_uix", "quiz, userid, attempt"),
    ("quiz_attempts", "quizatte_uni_uix", "uniqueid"),
    ("quiz_attempts", "quizatte_use_ix", "userid"),
    ("quiz_grades", "quizgrad_qui_ix", "quiz"),
    ("quiz_grades", "quizgrad_use_ix", "userid"),
    (
        "assign_submission",
        "assisubm_assusegroatt_uix",
        "assignment, userid, groupid, attemptnumber",
    ),
    ("assign_submission", "assisubm_use_ix", "userid"),
    ("assign_grades", "assigrad_assuseatt_uix", "assignment, userid, attemptnumber"),
    ("assign_grades", "assigrad_use_ix", "userid"),
    ("forum_discussions", "forudisc_for_ix", "forum"),
    ("forum_posts", "forupost_dis_ix", "discussion"),
    ("forum_posts", "forupost_use_ix", "userid"),
    ("logstore_standard_log", "logsstanlog_con_ix", "contextid"),
    ("logstore_standard_log", "logsstanlog_couanotim_ix", "courseid, anonymous, timecreated"),
    ("logstore_standard_log", "logsstanlog_cou_ix", "courseid"),
    ("logstore_standard_log", "logsstanlog_rea_ix", "realuserid"),
    ("logstore_standard_log", "logsstanlog_rel_ix", "relateduserid"),
    ("logstore_standard_log", "logsstanlog_tim_ix", "timecreated"),
    (
        "logstore_standard_log",
        "logsstanlog_useconconcr_ix",
        "userid, contextlevel, contextinstanceid, crud, edulevel, timecreated",
    ),
    ("logstore_standard_log", "logsstanlog_use_ix", "userid"),
)


def table_statements(prefix: str) -> list[str]:
    """``CREATE TABLE`` for each table, named with the prefix (``$CFG->prefix``)."""
    return [
        statement.replace("CREATE TABLE ", f"CREATE TABLE {prefix}", 1)
        for statement in _TABLES.split(";\n")
        if statement
    ]


def index_statements(prefix: str) -> list[str]:
    """``CREATE INDEX`` for each index; faster when run after the rows are inserted."""
    return [
        f"CREATE {'UNIQUE ' if name.endswith('uix') else ''}INDEX {prefix}{name} "
        f"ON {prefix}{table} ({columns})"
        for table, name, columns in _INDEXES
    ]
