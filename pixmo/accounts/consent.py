"""What people agree to before their voice is recorded, in plain words.

Whoever changes a word of a text gives it a new version: people are then asked again, and `consents` keeps which text
each of them saw, by its hash.
"""

import hashlib
from dataclasses import dataclass

VERSION = "1"

TEXTS = {
    "en": """\
You look at pictures and describe them aloud. This page records your voice while you do so, and only between pressing \
the button to record and the button to stop.

What is kept: your recordings; the text that is made from them by speech recognition and that you may correct; which \
picture you described, when, and for how long; the name you give here, and your e-mail address if you give one.

What it is for: the texts become a data set of image descriptions with which computer models learn to understand \
pictures.

Who hears you: the people who run this project may listen to your recordings to check the text. Recordings are turned \
into text on the project's own computers. The text alone, never your voice, may be sent to a language model that tidies \
it.

What is published: the texts may be published for everybody, together with a code number in place of your name and a \
digital fingerprint of the recording that proves that the text was spoken. Nobody can get your voice or your name from \
these. The recordings themselves are not published unless you agree to that separately.

Please do not say names, addresses or anything else private about yourself or others.

You take part of your own free will and can stop at any time. To take back your agreement, write to the person who sent \
you the link: your recordings are then deleted and your texts are left out of every later version of the data set. \
Versions that have already been published cannot be called back.""",
    "de": """\
Sie sehen Bilder an und beschreiben sie laut. Diese Seite nimmt dabei Ihre Stimme auf, und zwar nur von dem Knopf zum \
Aufnehmen bis zu dem Knopf zum Anhalten.

Was gespeichert wird: Ihre Aufnahmen; der Text, den eine Spracherkennung daraus macht und den Sie berichtigen können; \
welches Bild Sie wann und wie lange beschrieben haben; der Name, den Sie hier angeben, und Ihre E-Mail-Adresse, wenn Sie \
eine angeben.

Wozu: Aus den Texten wird ein Datensatz von Bildbeschreibungen, mit dem Computermodelle lernen, Bilder zu verstehen.

Wer Sie hört: Wer dieses Projekt betreibt, darf Ihre Aufnahmen anhören, um den Text zu prüfen. Die Aufnahmen werden auf \
den eigenen Rechnern des Projekts in Text umgewandelt. Allein der Text, nie Ihre Stimme, kann an ein Sprachmodell gehen, \
das ihn glättet.

Was veröffentlicht wird: Die Texte können für alle veröffentlicht werden, zusammen mit einer Kennzahl statt Ihres Namens \
und einem digitalen Fingerabdruck der Aufnahme, der belegt, dass der Text gesprochen wurde. Daraus lassen sich weder Ihre \
Stimme noch Ihr Name gewinnen. Die Aufnahmen selbst werden nicht veröffentlicht, außer Sie stimmen dem gesondert zu.

Bitte nennen Sie keine Namen, Adressen oder andere private Dinge über sich oder andere.

Ihre Teilnahme ist freiwillig, und Sie können jederzeit aufhören. Um Ihre Einwilligung zu widerrufen, schreiben Sie der \
Person, von der Sie den Link haben: Ihre Aufnahmen werden dann gelöscht, und Ihre Texte fehlen in jeder späteren Fassung \
des Datensatzes. Bereits veröffentlichte Fassungen lassen sich nicht zurückholen.""",
}


@dataclass(frozen=True)
class ConsentText:
    """The newest text in one language."""

    version: str
    language: str
    text: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def current(locale: str) -> ConsentText:
    """The newest text in the language of `locale` (BCP 47), or in English."""
    language = locale.partition("-")[0].lower()
    if language not in TEXTS:
        language = "en"
    return ConsentText(VERSION, language, TEXTS[language])
