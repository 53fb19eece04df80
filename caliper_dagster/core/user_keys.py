"""Keys under which records and event data of Moodle hold the id of a user.

Erasure and the filter of rows look for persons under these keys. The list is one, so that a key
that one of them knows is not passed over by the other.
"""

USER_ID_KEYS = (
    r"\w*userid(?:to|from)?|user|usermodified(?:by)?|userfrom|userto|authorid|contactid|createdby"
    r"|creatorid|grader(?:id)?|markerid|modifierid|overriddenby|overrideby|raterid|reviewerid"
    r"|submitterid|teacherid"
)
"""A regular expression of whole keys, which Arrow understands, too."""
