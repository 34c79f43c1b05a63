"""Image files with transparency, of WebP, CMYK and broken sums, with what Pillow reads from them: for packages/data.

python image_kinds.py > packages/data/test/fixtures/image-kinds.json
"""
import base64, io, json, random
import PIL
from PIL import Image

random.seed(0)
W, H = 7, 5
noise = lambda n: bytes(random.randrange(256) for _ in range(n))
b64 = lambda b: base64.b64encode(b).decode()


def written(image, format, **options):
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


rgba = Image.frombytes("RGBA", (W, H), noise(W * H * 4))
la = Image.frombytes("LA", (W, H), noise(W * H * 2))
gray = Image.frombytes("L", (W, H), noise(W * H))
palette = Image.frombytes("RGB", (W, H), noise(W * H * 3)).quantize(8)
cmyk = Image.frombytes("CMYK", (W, H), noise(W * H * 4))
smooth = Image.frombytes("RGB", (4, 4), noise(48)).resize((32, 24), Image.BICUBIC)
adobe = written(cmyk.resize((16, 16), Image.BICUBIC), "JPEG", quality=90)
mark = adobe.index(b"\xff\xee")
plain = adobe[:mark] + adobe[mark + 2 + int.from_bytes(adobe[mark + 2 : mark + 4], "big") :]
files = {
    "rgba_png": written(rgba, "PNG"),
    "la_png": written(la, "PNG"),
    "gray_trns_png": written(gray, "PNG", transparency=int(gray.getpixel((0, 0)))),
    "palette_trns_png": written(palette, "PNG", transparency=bytes([0, 255, 128, 7])),
    "cmyk_adobe_jpeg": adobe,
    "cmyk_plain_jpeg": plain,
    "webp_lossless": written(rgba, "WEBP", lossless=True, exact=True),
    "webp_lossy": written(smooth, "WEBP", quality=80),
}
decoded = {}
for name, data in files.items():
    image = Image.open(io.BytesIO(data))
    decoded[name] = {
        "size": image.size,
        "rgb": b64(image.convert("RGB").tobytes()),
        # What diffusers' VaeImageProcessor makes of a mask: load_image's convert("RGB"), then convert("L").
        "mask": b64(image.convert("RGB").convert("L").tobytes()),
    }
print(json.dumps({
    "origin": f"tooling/golden/scripts/image_kinds.py with Pillow {PIL.__version__}",
    "files": {name: b64(data) for name, data in files.items()},
    "decoded": decoded,
}, indent=1))
