"""heedful's tokenizer in Python, over the `tokenizers` package: the same ids for the same text.

    python tokenizer.py RUN/tokenizer.json < text > ids

prints the ids of each line, as `cargo run --release -p heedful-translate --example tokenize -- RUN/tokenizer.json < text` does.
"""

import functools
import json
import sys
import unicodedata

from tokenizers.models import BPE

BOS, EOS, FIRST_BYTE, RESERVED = 0, 1, 2, 258
LONGEST_PIECE = 64
REMOVED = {0xAD, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x2065), *range(0x2066, 0x206A), 0xFEFF}
REPLACED = {**dict.fromkeys([0x2018, 0x2019, 0x201A, 0x201B, 0x2BC], "'"), **dict.fromkeys(range(0x201C, 0x2020), '"'),
            0x2010: "-", 0x2011: "-", 0x2026: "..."}


def normalise(text):
    """One spelling for what is the same text: NFC, single spaces, plain quotation marks and hyphens, nothing invisible."""
    out = []
    for c in text:
        if c.isspace():
            out.append(" ")
        elif ord(c) in REMOVED or unicodedata.category(c) == "Cc":
            continue
        else:
            out.append(REPLACED.get(ord(c), c))
    return " ".join(unicodedata.normalize("NFC", "".join(out)).split())


@functools.cache
def kind(c):
    category = unicodedata.category(c)
    if c.isspace():
        return "space"
    if c in "\u200c\u200d" or category[0] == "M":
        return "combining"
    if "\u3041" <= c <= "\u30ff" or "\u31f0" <= c <= "\u31ff" or "\uff66" <= c <= "\uff9f":
        return "kana"
    if c == "\u3005" or "\u3400" <= c <= "\u4dbf" or "\u4e00" <= c <= "\u9fff" or "\uf900" <= c <= "\ufaff" or "\U00020000" <= c <= "\U000323af":
        return "ideograph"
    if category[0] == "N":
        return "digit"
    return "letter" if c == "_" or c.isalpha() else "mark"


def joins(previous, of, c, kind_of_c, following):
    """Whether `c` goes on with the word that the character before it is in."""
    following = kind(following) if following else None
    match kind_of_c:
        case "space" | "ideograph":
            return False
        case "combining":
            return of != "space"
        case "letter" | "digit":
            return of in ("letter", "digit")
        case "kana":
            return of == "kana"
    if of == "mark":
        return c == previous or previous == "\u200d"
    if c in "'-":
        return of in ("letter", "digit") and following in ("letter", "digit")
    return c in ".,:" and of == "digit" and following == "digit"


def spaced_words(text):
    """The words and punctuation marks of a text, each with the space before it, if there is one."""
    words, previous, of = [], None, None
    for i, c in enumerate(text):
        k = kind(c)
        joined = previous is not None and joins(previous, of, c, k, text[i + 1] if i + 1 < len(text) else None)
        if joined:
            words[-1] += c
        elif k != "space":
            words.append(" " + c if i > 0 and text[i - 1] == " " else c)
        if not (joined and k in ("mark", "combining")):
            of = k
        previous = c
    return words


def pieces(word):
    """What of a word may merge: everything but digits, each of which stays alone, and at most 64 characters."""
    while word:
        end = len(word)
        for count, c in enumerate(word):
            if unicodedata.category(c)[0] == "N" or count == LONGEST_PIECE:
                end = count if count == LONGEST_PIECE or word[:count].lstrip(" ") else count + 1
                break
        yield word[:end]
        word = word[end:]


class Tokenizer:
    """From the JSON that heedful writes: an alphabet, and merges as pairs of ids."""

    def __init__(self, text):
        stored = json.loads(text)
        assert stored["format"] == "heedful-bpe-1", stored["format"]
        self.tokens = ["<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + list(stored["alphabet"])
        vocabulary = {token: i for i, token in enumerate(self.tokens)}
        merges = []
        for left, right in stored["merges"]:
            merges.append((self.tokens[left], self.tokens[right]))
            merged = "".join(merges[-1])
            if merged not in vocabulary:
                vocabulary[merged] = len(self.tokens)
                self.tokens.append(merged)
        self.bpe = BPE(vocab=vocabulary, merges=merges, byte_fallback=True)
        self.piece = functools.cache(lambda piece: [token.id for token in self.bpe.tokenize(piece)])

    def __len__(self):
        return len(self.tokens)

    def encode(self, text):
        return [i for word in spaced_words(" " + normalise(text)) for piece in pieces(word) for i in self.piece(piece)]

    def decode(self, ids):
        data = bytearray()
        for i in ids:
            if i >= RESERVED:
                data += self.tokens[i].encode()
            elif i >= FIRST_BYTE:
                data.append(i - FIRST_BYTE)
        return data.decode(errors="replace").strip(" ")


if __name__ == "__main__":
    tokenizer = Tokenizer(open(sys.argv[1], encoding="utf-8").read())
    for line in sys.stdin.buffer.read().decode().split("\n")[:-1]:
        print(*tokenizer.encode(line))
