"""Words of class names, and first words of blocks, with what they tell: tables for compiled code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.main_text.tags import hash_word

# What words of class, id, role mean to those who write pages. One bit each; the trees find out what they are worth.
CATEGORIES = {
    "content": (
        "content article story post entry body text main artikel inhalt contenu contenido nachricht articlebody "
        "bodytext richtext prose paragraph absatz texte contenuto news blogpost blog detail copy markdown wysiwyg"
    ),
    "comment": (
        "comment comments kommentar kommentare commentaire commentaires comentario comentarios commento commenti "
        "reply replies respond response disqus discussion forum trackback pingback feedback review reviews "
        "commentlist"
    ),
    "share": (
        "share sharing shares social facebook twitter whatsapp pinterest linkedin xing telegram email mail print "
        "teilen partager compartir condividi addtoany addthis shariff bookmark sociable instagram youtube follow"
    ),
    "related": (
        "related teaser teasers recommended recommendation recommendations more readmore recent popular latest "
        "trending mostread similar suggested suggestions outbrain taboola also verwandte weitere mehr preview promo "
        "carousel slider swiper linklist upnext next prev previous pager pagination card cards tile tiles grid "
        "archive archives"
    ),
    "navigation": (
        "nav navigation menu navbar breadcrumb breadcrumbs topbar toolbar tabs tab skip skiplink sitemap megamenu "
        "submenu dropdown toc jump header masthead banner head logo"
    ),
    "footer": ("footer foot bottom copyright colophon impressum legal disclaimer fusszeile pied imprint"),
    "side": ("sidebar aside side widget widgets rail column secondary complementary marginal sidebars block"),
    "byline": (
        "byline author autor auteur autore date datum time published meta metadata info posted timestamp dateline "
        "credits credit bio authors datetime publish kicker category categories tag tags topics keywords rubrik "
        "source quelle"
    ),
    "consent": (
        "cookie cookies consent gdpr dsgvo privacy datenschutz notice overlay modal popup dialog cmp onetrust alert"
    ),
    "advertisement": (
        "ad ads advert advertisement anzeige werbung sponsor sponsored promotion adsense dfp publicite pub affiliate "
        "shop product price cart"
    ),
    "action": (
        "newsletter subscribe subscription abo abonnement signup login signin register registration paywall plus "
        "search suche recherche buscar form donate spenden cta button btn action actions"
    ),
    "caption": (
        "caption figcaption bildunterschrift legend image img photo foto picture gallery figure media video player "
        "thumbnail thumb slideshow embed"
    ),
    "unseen": ("hidden hide invisible sr visually screen reader noprint print collapsed"),
    "lead": (
        "lead intro summary excerpt abstract subtitle subline subheadline standfirst dek description headline title "
        "vorspann chapo sapo heading kopf"
    ),
}

# What the first words of a block announce: pointers to other pages, pictures, sources, offers, comments, rights.
TEXT_CATEGORIES = {
    "read": (
        "read see watch click lesen siehe hier voir lire regardez ver lea leer mira mire puedes vea leggi guarda vedi "
        "czytaj zobacz sprawdź lees bekijk läs les lue citește vezi veja leia confira číst čtěte olvass okuyun "
        "смотрите читайте читать دیکھیں اقرأ 阅读 続きを読む"
    ),
    "also": (
        "also more related auch mehr weitere weiterlesen verwandte dazu aussi plus même sujet también tambien más "
        "interesar relacionadas relacionados anche altro approfondisci też także więcej polecane também mais ook meer "
        "också mer også myös lisää ayrıca také více szintén еще ещё также похожие أيضا المزيد 相关 関連 recommended "
        "empfohlen interessieren könnte leserinnen tipp"
    ),
    "picture": (
        "photo photos foto fotos fotocredit bild bilder titelbild beitragsbild symbolbild abbildung grafik image "
        "images picture imagen imágenes credit credits crédito créditos photograph fotografía illustration zdjęcie "
        "fot immagine copertina beeld kuva kép фото фотография صورة getty reuters afp dpa 图片 写真 video vidéo"
    ),
    "source": (
        "quelle quellen quellenangaben source sources fuente fuentes fonte fonti źródło bron källa lähde forrás "
        "источник المصدر 来源 出典 via literatur references einzelnachweise originally"
    ),
    "offer": (
        "newsletter subscribe abonnieren abonnez suscríbete suscribirse iscriviti assine abonneer sign register "
        "anmelden registrieren jetzt follow folgen folge seguir sigue suivez join download app telegram whatsapp "
        "facebook twitter instagram youtube support donate spenden kostenlos free angebot shop werbung anzeige "
        "advertisement sponsored publicidad publicité reklama loading print drucken share teilen compartir partager "
        "condividi"
    ),
    "comment": (
        "comment comments kommentar kommentare commentaire commentaires comentario comentarios commenti komentarze "
        "reply antworten répondre responder reactie комментарии تعليق 评论 コメント login log einloggen trackback"
    ),
    "right": (
        "copyright rechte rights reserved vorbehalten réservés reservados cookies cookie datenschutz privacy "
        "impressum disclaimer terms agb gewähr autor author autorin von by par por veröffentlicht published posted "
        "updated aktualisiert publicado publié tags kategorie categories filed thema themen schlagwörter stichworte "
        "date datum"
    ),
}


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Open-addressing tables: 0 is an empty slot, and the size of each is a power of two.

    `odds` are log-odds that text below such an element (or, of `text_odds`, that begins with such words) is main text,
    less those of any text; NaN where a word has only its categories.
    """

    keys: NDArray[np.uint32]
    odds: NDArray[np.float32]
    categories: NDArray[np.int32]
    text_keys: NDArray[np.uint32]
    text_odds: NDArray[np.float32]
    text_categories: NDArray[np.int32]


def vocabulary(odds: Mapping[int, float], text_odds: Mapping[int, float]) -> Vocabulary:
    """Tables of hashes (tags.hash_word; curation/main_text/characters.py) and their log-odds."""
    return Vocabulary(
        *_table(odds, CATEGORIES, hash_word, np.nan), *_table(text_odds, TEXT_CATEGORIES, hash_text_word, 0.0)
    )


def hash_text_word(word: str) -> int:
    """FNV-1a of 32 bits over the code points of a word in lower case, which is how words of a text are hashed."""
    value = 0x811C9DC5
    for character in word:
        value = (value ^ ord(character)) * 0x01000193 & 0xFFFFFFFF
    return value


def _table(
    odds: Mapping[int, float], categories: Mapping[str, str], hash_of: Callable[[str], int], missing: float
) -> tuple[NDArray[np.uint32], NDArray[np.float32], NDArray[np.int32]]:
    bits: dict[int, int] = {}
    for number, words in enumerate(categories.values()):
        for word in words.split():
            bits[hash_of(word)] = bits.get(hash_of(word), 0) | 1 << number
    keys, slots = _slots(sorted({*bits, *odds} - {0}))
    values, known = np.full(len(keys), missing, np.float32), np.zeros(len(keys), np.int32)
    for number, slot in slots.items():
        values[slot], known[slot] = odds.get(number, missing), bits.get(number, 0)
    return keys, values, known


def _slots(words: list[int]) -> tuple[NDArray[np.uint32], dict[int, int]]:
    size = 1 << max(4, (4 * len(words)).bit_length())
    keys, slots = np.zeros(size, np.uint32), {}
    for word in words:
        slot = word & (size - 1)
        while keys[slot]:
            slot = (slot + 1) & (size - 1)
        keys[slot], slots[word] = word, slot
    return keys, slots
