# ruff: noqa: RUF001 - this module contains names in many scripts on purpose
"""The texts of the sample site: invented names, titles and texts, in many scripts.

They contain what breaks software: accents, right-to-left scripts, emoji, apostrophes, markup,
blanks, names of one letter. Family names mean "example" in some language or come from sample texts,
so that they name no real person.
"""

from __future__ import annotations

FIRST_NAMES = (
    *("Zoë", "Łucja", "Jürgen", "Søren", "Siobhán", "Đorđe", "Ólafur", "Thảo", "Şebnem", "Noël"),
    *("Anaïs", "Mary Jane", "João", "Íñigo", "Rūta", "Björk", "Çağla", "Ståle", "Ŧuula", "Ng"),
    *("أمل", "نور", "דנה", "نیلوفر", "Αλίκη", "Полина", "Žofie", "ქეთი", "Անի", "Олександр"),
    *("春", "さくら", "하늘", "अनन्या", "ปรีชา", "தமிழ்", "Q", "Ada 🦉", "Jean-Luc", "D'Arcy"),
)
LAST_NAMES = (
    *("Beispiel", "Muster", "Ejemplo", "Exemplo", "Exemple", "Esempio", "Voorbeeld", "Eksempel"),
    *("O'Sample", "D'Esempio", "Esimerkki", "Näidis", "Örnek", "Példa", "Příklad", "Przykład"),
    *("Παράδειγμα", "Пример", "Приклад", "מדגם", "مثال", "نمونه", "მაგალითი", "օրինակ"),
    *("例子", "見本", "예시", "उदाहरण", "ตัวอย่าง", "Mẫu", "van der Lorem", "Ipsum-Dolor"),
    *("Placeholder 🌍", "Mac Shampla", "Dæmi", "Pavyzdys", "Þrautarsýni", "X", "Null", "Test & Co"),
    # One last name more than first names, so that the pairs repeat late.
    "Beispielová",
)

CATEGORIES = (
    # name, idnumber, position of the parent in this table
    ("Faculty of Examples", "FAC-EX", None),
    ("Département d’Échantillons & <Co>", "DEP-1", 0),
    ("كلية العلوم التجريبية", None, None),
)
COURSES = (
    # full name, short name, summary
    (
        'Algorithms <b>&amp;</b> Data "Structures" I',
        "ALG-1",
        "<p>Lists, <em>trees</em> &amp; graphs. <script>alert('not run')</script></p>",
    ),
    ("مقدمة في اللغة العربية", "ARA-ß", '<div dir="rtl">مرحبا بكم في المقرر</div>'),
    ("Ünïcode für Anfänger 🦄", "UNI 🦄", "Line one\nLine two\twith a tab"),
    ("The Baker's Mathematics: 100 % of 1/2 \\ 3", "O'MATH", None),
    ("日本語入門 — はじめての漢字", "JPN 101", "<p>こんにちは</p>"),
    ("Histoire de l’exemple, du Moyen Âge à nos jours", "HIST/FR", ""),
    ("מבוא לפילוסופיה", "PHIL_HE", "<p>שלום</p>"),
    ("  Writing with {braces} and %s signs  ", "WRI;1", "<p>Plain intro.</p>"),
)
DELETED_COURSE = ("Cancelled: Introduction to Vanishing", "GONE-1", "<p>Soon deleted.</p>")
SECTIONS = (None, "Week 1: Begin", "Séance n° 2", None, "الأسبوع ٤", "Exam <i>preparation</i> 📝")
GROUPS = ("Group A", "Équipe « B »", "קבוצה ג")
INTROS = (
    "<p>Plain intro.</p>",
    "",
    '<div dir="rtl">مرحبا بكم في النشاط</div>',
    'Line one\nLine two\ttabbed "quoted" \\ backslash',
    "<p>Ça va ? 5 &gt; 3 &amp; 🎓</p>",
)

TITLES = {
    "assign": ("Essay", "«Überblick» in 300 words", "Project report", "Übungsblatt"),
    "book": ("Script", "Kitāb al-amṯila"),
    "chat": ("Office hours",),
    "choice": ("Pick a date", "Cats or dogs? 🐈/🐕"),
    "data": ("Collection of examples",),
    "facetoface": ("Workshop on campus",),
    "feedback": ("Course evaluation", "What's missing?"),
    "folder": ("Slides & handouts",),
    "forum": ("Announcements", "Questions & answers", "منتدى النقاش"),
    "glossary": ("Terms A–Z",),
    "imscp": ("Learning package",),
    "lesson": ("Step by step",),
    "lti": ("External lab",),
    "page": ("Welcome", "Reading list <draft>", "ページ", "How to cite"),
    "quiz": ("Quiz: basics", "Mid-term «Prüfung»", "Test ½", "Self-check ✓"),
    "resource": ("Lecture notes", "Recording", "Audio guide", "Diagram"),
    "scorm": ("Safety training",),
    "survey": ("COLLES (Actual)",),
    "url": ("Further reading", "Library search?q=a&b=c"),
    "wiki": ("Shared notes",),
    "workshop": ("Peer review",),
}
POSTS = (
    ("Welcome! 👋", "<p>Say hello.</p>"),
    ('Where is the "script"?', "<p>I can't find it &mdash; help?</p>"),
    ("سؤال عن الواجب", '<p dir="rtl">متى الموعد النهائي؟</p>'),
)
