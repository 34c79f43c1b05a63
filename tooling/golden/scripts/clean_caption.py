"""Awkward captions as diffusers' IFPipeline cleans them (clean_caption=True): its _text_preprocessing, which cleans twice; and
captions with mojibake that ftfy repairs in it.

Run: python tooling/golden/scripts/clean_caption.py packages/pipelines/test/fixtures/clean-caption.json
Needs diffusers, beautifulsoup4 and ftfy; no weights.
"""

import json
import sys

import bs4
import diffusers
import ftfy
from diffusers import IFPipeline

CAPTIONS = [
    "A Red Cat", "  spaces   all \t around \n", "", "   ", "a photo of <person> in front of the Eiffel tower",
    "see https://example.com/a/b?c=d for more", "visit WWW.EXAMPLE.ORG/page now", "mail me at someone@example.com please", "http://localhost:8080/x", "shop.it and news.ru, co.uk too",
    "<b>bold</b> and <i class='x y'>italic</i>", "a<br>b<br/>c", "<p>one</p><p>two</p>", "before <!-- a comment --> after", "<script>alert('x')</script>text<style>p { color: red }</style>",
    "<a href=\"http://x.com/?a=1&b=2\" title='a > b'>a link</a> to it", "<ruby>漢<rp>(</rp><rt>kan</rt><rp>)</rp></ruby> sign", "<template>hidden</template>shown", "<![CDATA[data]]> here", "<!DOCTYPE html><html><body>page</body></html>",
    "fish &amp; chips", "fish &amp chips", "&quot;quoted&quot;", "caf&eacute; &copy; 2020", "&#233;t&#xe9; &#8220;x&#8221;", "&unknown; stays", "AT&T", "rock & roll", "salt&pepper shaker", "&lt;b&gt;not bold&lt;/b&gt;",
    "a < b and b > c", "i <3 you", "1 <2", "x </b> y", "a &nbsp; b", "&hearts; &rarr;", "&ampamp;", "R&D; lab",
    "100%25 cotton+shirt", "caf%C3%A9 au lait", "%E2%82%AC5 note", "50% off", "%zz %4", "c%2B%2B", "broken %C3 byte",
    "@someone took this @photo_1", "#123 and #12345 and #1234567", "call 5551234567 now", "12345 123456 1234567", "from 192.168.0.1 to 10.0.0.255", "article 3:45  ", "time 3:45 pm",
    "IMG_1234.JPG", "a picture.png of a cat.jpeg", "file.pdf", "photo of png images and jpg", "webp image", "this\\nthat\\nmore",
    "これは日本語です", "中文字符 and text", "漢字かな交じり文", "㈱ company ㌔", "䷀ hexagram", "カタカナ ㇰ",
    "dash – em — bar ― minus - wave 〜 fullwidth－", "«guillemets» “curly” ‘single’ ´acute` ¨", "it’s ‚low‛ ʼmodifier", "„German“ quotes",
    "***SALE*** !!! [new] {offer} (free) | a/b \\ c", "\"\"\"AUSVERKAUFT\"\"\"", "''", "'quoted whole'", "\"quoted whole\"", "dots... and more..", "a . b . c", "wait… what", "© 2020 ® ™ § ~ · º ½ ¾ ¿ ¡ •",
    "this-is-my-cute-cat", "this_is_my_cute_cat", "well-known snow-white", "a-b-c-d-e", "snake_case here",
    "jc6640 and jc6640vc and 6640vc231", "j2d1a2a code", "mp3 player", "h2o molecule", "4k tv 1080p", "b2b 3d x86",
    "free shipping worldwide free shipping", "worldwide shipping", "free download free", "download free wallpaper", "click for details", "click on image", "click here",
    "page 12 of the book", "page  3", "1920x1080 wallpaper", "10 x 15 cm", "4.5x6.5 print", "3х4 cyrillic х", "5×7 frame", "2.5×3.5",
    "title : subtitle", "a :b", "one,two.three/four", "1.5 and 2,000", "e.g. this", "hello,world", "end with comma,", "-starts with dash", ":colon first", "_underscore_", ".hidden", ".hidden file", "ends with dash-", "ends with plus+", ";semi", "'apostrophe first",
    "naïve café déjà vu", "Ünïcödé ẞtraße İstanbul ΣΊΣΥΦΟΣ", "Москва, Россия", "надії і мрії", "Ελλάδα αγάπη", "שלום עולם", "مرحبا", "한국어 사진", "tiếng Việt", "zażółć gęślą jaźń", "𝔣𝔞𝔫𝔠𝔶 𝕥𝕖𝕩𝕥", "emoji 😀👍🏽 here",
    "ﬁne ﬂow ﬀ ĳ ǆ", "ｆｕｌｌｗｉｄｔｈ　ｔｅｘｔ", "ｶﾀｶﾅ half", "＆amp; wide", "e\u0301 combining", "a\u00a0b\u2003c\u3000d", "line\u2028separator\u2029paragraph", "bom\ufeff here", "zero\u200bwidth", "bell\x07 and null", "\x1b[31mred\x1b[0m",
    "½ cup ² ³ ١٢٣", "№ 5 ℃ Ⅷ", "price $5.99 €10 £3", "A+B=C", "50°c", "C# and F#", "snow ❄ ★ ♥",
    "cat | dog / bird \\ fish", "<b>unclosed bold", "</only end>", "<b/ >x", "<img src=x.png alt='a cat'>after", "<a\nhref='x'\n>multi line</a>", "<?php echo 1 ?>after", "<!bogus>after", "<b<i>nested</i>", "text <notatag attr> more",
    "a professional photo of an astronaut, 4k, trending on artstation.com", "Vintage 1950s Poster - 24\"x36\" (Free Shipping!)", "Buy now: www.shop.com/item/12345678 only $9.99!!! #sale #discount",
    "DSC_0042.jpg by @photographer, Nikon D850, f/2.8, 1/200s, ISO 100", "Q&A: What's the \"best\" way?", "Stock vector of 3 cute cats -- 12345678", "&lt;script&gt;alert(1)&lt;/script&gt; text",
]  # fmt: skip


class Cleaner:
    bad_punct_regex = IFPipeline.bad_punct_regex
    _clean_caption = IFPipeline._clean_caption
    _text_preprocessing = IFPipeline._text_preprocessing


cases = [[caption, Cleaner()._text_preprocessing(caption, clean_caption=True)[0]] for caption in CAPTIONS]

# Texts in UTF-8 that were read in another encoding, as they are when ftfy sees them, as far as it repairs them.
WORDS = ["café", "naïve façade", "l’été", "“best” cat", "über straße", "señor niño", "привет мир", "żółć gęślą", "çok güzel", "αγάπη", "tiếng việt", "a — b", "it’s", "100 €", "±5°", "日本語", "😀 smile", "ěščř"]
ENCODINGS = ["latin-1", "sloppy-windows-1252", "sloppy-windows-1251", "sloppy-windows-1250", "sloppy-windows-1253", "sloppy-windows-1254", "sloppy-windows-1257", "iso-8859-2", "macroman", "cp437"]
repaired = []
for word in WORDS:
    for encoding in ENCODINGS:
        try:
            text = f"a cat {word.encode().decode(encoding)} here"
        except UnicodeDecodeError:
            continue
        cleaned = []
        original = ftfy.fix_text
        ftfy.fix_text = lambda given: cleaned.append((given, original(given))) or original(given)
        Cleaner()._text_preprocessing(text, clean_caption=True)
        ftfy.fix_text = original
        if any(ftfy.fix_encoding(given) != given for given, _ in cleaned) and text not in repaired:
            repaired.append(text)

origin = f"tooling/golden/scripts/clean_caption.py: diffusers {diffusers.__version__}, beautifulsoup4 {bs4.__version__}, ftfy {ftfy.__version__}, Python {sys.version.split()[0]}"
rows = ",\n".join("  " + json.dumps(case, ensure_ascii=True) for case in cases)
with open(sys.argv[1], "w") as file:
    file.write(f'{{\n "origin": {json.dumps(origin)},\n "cases": [\n{rows}\n ],\n "repaired": {json.dumps(repaired)}\n}}\n')
