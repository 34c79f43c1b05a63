/** A number below `below`. */
export type Random = (below: number) => number;

/** Marsaglia's xorshift32: the same files on every machine. */
export function xorshift(seed: number): Random {
  let state = Math.imul(seed + 1, 2654435769) >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
}

/** One to eight small harms to a binary file: bits, bytes, numbers, cuts, repeats, splices; half of them at its ends. */
export function mutateBytes(seed: Uint8Array, random: Random): Uint8Array {
  let bytes = Buffer.from(seed);
  const harms = 1 + random(8);
  for (let i = 0; i < harms && bytes.length > 0; i++) {
    const near = random(2) === 0 ? random(Math.min(200, bytes.length)) : random(bytes.length);
    const at = random(2) === 0 ? near : bytes.length - 1 - near;
    switch (random(8)) {
      case 0:
        bytes[at]! ^= 1 << random(8);
        break;
      case 1:
        bytes[at] = random(256);
        break;
      case 2:
        bytes[at] = [0, 1, 0x7f, 0x80, 0xff, 0x28, 0x2e, 0x65][random(8)]!;
        break;
      case 3: {
        const wide = Buffer.alloc(8);
        wide.writeBigUInt64LE([0n, 1n, 0xffff_ffffn, 2n ** 63n - 1n, 2n ** 64n - 1n, 2n ** 40n][random(6)]!);
        wide.copy(bytes, at, 0, 1 << random(4));
        break;
      }
      case 4:
        if (random(4) === 0) bytes = bytes.subarray(0, at);
        break;
      case 5: {
        const from = random(bytes.length);
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(from, from + random(32)), bytes.subarray(at)]);
        break;
      }
      case 6: {
        // A decimal number in a text, made another.
        const digit = bytes.subarray(at).findIndex((byte) => byte >= 0x30 && byte <= 0x39);
        if (digit !== -1) bytes[at + digit] = 0x30 + random(10);
        break;
      }
      default:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + random(16))]);
    }
  }
  return Uint8Array.from(bytes);
}

/** What is put in the place of values: other types, extremes, names of Object.prototype, terminal escapes. */
const VALUES: readonly unknown[] = [
  ...[
    null,
    true,
    false,
    0,
    -1,
    0.5,
    1e308,
    2 ** 53,
    -(2 ** 31),
    1e9,
    '',
    'toString',
    '__proto__',
    'constructor',
    'NaN',
  ],
  ...['\u001b[2J\n', 'x'.repeat(5000), [], {}, [[]], { toString: 1 }, { length: 1e9 }, Array(200).fill(1)],
];

/** One to four harms to a JSON text: a value replaced, removed, repeated or renamed; or the text harmed as bytes. */
export function mutateJson(seed: Uint8Array, random: Random): Uint8Array {
  if (random(4) === 0) return mutateBytes(seed, random);
  const root = { value: JSON.parse(Buffer.from(seed).toString('utf8')) as unknown };
  for (let i = 1 + random(4); i > 0; i--) {
    const places: [Record<string, unknown>, string][] = [];
    const walk = (node: unknown, depth: number): void => {
      if (typeof node !== 'object' || node === null || depth > 6 || places.length > 2000) return;
      for (const key of Object.keys(node).slice(0, 60)) {
        places.push([node as Record<string, unknown>, key]);
        walk((node as Record<string, unknown>)[key], depth + 1);
      }
    };
    walk(root, 0);
    if (places.length === 0) break; // All of it was replaced already.
    const [holder, key] = places[random(places.length)]!;
    const other = structuredClone(VALUES[random(VALUES.length)]);
    const way = random(8);
    if (way === 0) delete holder[key];
    else if (way === 1)
      Object.defineProperty(holder, `${key}x`, { value: other, enumerable: true, configurable: true, writable: true });
    else holder[key] = other;
  }
  return Buffer.from(JSON.stringify(root.value) ?? '');
}

/** Harms to one line of JSON each, for files of JSON lines; or to the text as bytes. */
export function mutateLines(seed: Uint8Array, random: Random): Uint8Array {
  if (random(4) === 0) return mutateBytes(seed, random);
  const lines = Buffer.from(seed).toString('utf8').trimEnd().split('\n');
  const at = random(lines.length);
  lines[at] = Buffer.from(mutateJson(Buffer.from(lines[at]!), random)).toString('utf8');
  return Buffer.from(lines.join('\n'));
}
