"""Texts of tables and requests that stand for yes, for no, and for no value, in the languages that write them."""

from __future__ import annotations

YES, NO = frozenset({"1", "true", "yes", "y", "t", "on"}), frozenset({"0", "false", "no", "n", "f", "off"})
OTHER_YES = frozenset(  # in other languages
    "+ ja j já jā da ano evet igen bai có ναι да այո כן بله ใช่ はい 네 有 aye ✓ ✔ ✅ 👍 истина doğru あり 对 對 "
    "oui si sì sí sim tak так kyllä sant sann sand wahr vrai vero verdadero verdadeiro waar prawda pravda "
    "правда igaz tosi 是 真 예 نعم".split()
)
OTHER_NO = frozenset(
    "- nein nej nei nee non não nao ne nie nem ez ei nu nay không όχι нет не ні ոչ לא خیر ไม่ใช่ いいえ 아니오 "
    "아니요 無 无 沒有 没有 hayır hayir ✗ ✘ ❌ 👎 ложь yanlış なし 錯 错 usant usann falsk falskt falsch faux falso "
    "onwaar fałsz nepravda неправда hamis epätosi 否 假 لا".split()
)
# What stands for "no value" in tables, beside what pandas takes for it ("", "NA", "NaN", "null", "None", "#N/A" ...).
EXCEL_ERRORS = ("#DIV/0!", "#REF!", "#VALUE!", "#NAME?", "#NUM!", "#NULL!")
DASHES = frozenset("-\u2013\u2014\u2212")  # but in a column of + and -
MISSING = ("?", *sorted(DASHES), "--", ".", "..", "n.a.", "N.A.", "missing", "(null)", "\\N", *EXCEL_ERRORS)
ABSENT = frozenset({text.casefold() for text in MISSING} | {"na", "n/a", "nan", "null", "none", "#n/a", "<na>"})
