"""Texts with tokens beside the vocabulary, and the ids that transformers' CLIPTokenizer gives them.

Run: python tooling/golden/scripts/added_tokens.py packages/text-encoders/test/fixtures
"""
import json, random, shutil, sys, tempfile
from pathlib import Path

import transformers
from transformers import CLIPTokenizer

fixtures = Path(sys.argv[1])
random.seed(4)
TOKENS = [
    dict(content="<cat-toy>", normalized=True, special=False),
    dict(content="<cat-toy>_1", normalized=True, special=False),
    dict(content="<Cat>", normalized=False, special=True),
    dict(content="<Big Dog>", normalized=True, special=False),
    dict(content="solo", normalized=True, special=False, single_word=True),
    dict(content="<left>", normalized=False, special=True, lstrip=True),
    dict(content="<right>", normalized=True, special=False, rstrip=True),
    dict(content="sks", normalized=True, special=False),
    dict(content="ÄÖ", normalized=True, special=False),
]
WORDS = [t["content"] for t in TOKENS] + ["<CAT-TOY>", "<cat>", "<big dog>", "<BIG  DOG>", "Solo", "solos", "_solo", "SKS", "a", "red", "cat",
    "!", " ", "  ", "\t", "äö", "A\u0308O\u0308", "<|endoftext|>", "<|STARTOFTEXT|>", "<", ">", "toy>", "1", "é", "猫"]


def cases(folder, texts):
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    return [tokenizer(text).input_ids[1:-1] for text in texts]


texts = ["".join(random.choice(WORDS) + random.choice(["", "", " "]) for _ in range(random.randint(1, 7))) for _ in range(400)]
with tempfile.TemporaryDirectory() as tmp:
    base = Path(tmp) / "base"
    base.mkdir()
    for name in ["vocab.json", "merges.txt"]:
        shutil.copy(fixtures / "tokenizers" / name, base / name)
    size = len(json.loads((base / "vocab.json").read_text()))
    decoder = {str(size + i): {**dict(lstrip=False, rstrip=False, single_word=False), **t} for i, t in enumerate(TOKENS)}
    added = {t["content"]: size + i for i, t in enumerate(TOKENS)}
    config = dict(tokenizer_class="CLIPTokenizer", bos_token="<|startoftext|>", eos_token="<|endoftext|>", pad_token="<|endoftext|>",
                  unk_token="<|endoftext|>", model_max_length=77)
    (base / "tokenizer_config.json").write_text(json.dumps({**config, "added_tokens_decoder": decoder}))
    with_decoder = cases(base, texts)
    (base / "tokenizer_config.json").write_text(json.dumps(config))
    (base / "added_tokens.json").write_text(json.dumps(added))
    with_file = cases(base, texts)
    print(sum(a != b for a, b in zip(with_decoder, with_file)), "differ")
out = dict(origin=f"tooling/golden/scripts/added_tokens.py with transformers {transformers.__version__}",
           added_tokens_decoder=decoder, added_tokens=added,
           rows=[dict(text=t, decoder=d, file=f) for t, d, f in zip(texts, with_decoder, with_file)])
(fixtures / "added-tokens.json").write_text(json.dumps(out, ensure_ascii=False))
