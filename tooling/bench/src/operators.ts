/** An operator on one of the shapes that networks have. Images are `[N, H, W, C]`. */
export type Operator =
  | {
      readonly kind: 'convolution';
      readonly of: string;
      readonly image: readonly [number, number, number, number];
      readonly channels: number;
      readonly kernel: 1 | 3;
      readonly stride: 1 | 2;
    }
  | {
      /** x `[rows, inner]` times W^T, W `[columns, inner]`. */
      readonly kind: 'product';
      readonly of: string;
      readonly rows: number;
      readonly inner: number;
      readonly columns: number;
    }
  | {
      /** q `[N, h, T, d]` over keys and values `[N, h, S, d]`. */
      readonly kind: 'attention';
      readonly of: string;
      readonly batch: number;
      readonly heads: number;
      readonly queries: number;
      readonly keys: number;
      readonly width: number;
    };

type Image = readonly [number, number, number, number];

const convolution = (of: string, image: Image, channels: number, kernel: 1 | 3 = 3, stride: 1 | 2 = 1): Operator => ({
  ...{ kind: 'convolution', of, image, channels, kernel, stride },
});
const product = (of: string, rows: number, inner: number, columns: number): Operator => ({
  ...{ kind: 'product', of, rows, inner, columns },
});
const attention = (
  of: string,
  batch: number,
  heads: number,
  queries: number,
  keys: number,
  width: number,
): Operator => ({
  ...{ kind: 'attention', of, batch, heads, queries, keys, width },
});

/** The large operators of the networks that the bench times. */
export const operators: readonly Operator[] = [
  convolution('bench UNet', [8, 32, 32, 64], 64),
  convolution('bench UNet', [8, 16, 16, 128], 128),
  convolution('bench UNet', [8, 8, 8, 256], 256),
  convolution('bench UNet, up', [8, 16, 16, 256], 128, 1),
  convolution('bench UNet, down', [8, 32, 32, 64], 64, 3, 2),
  convolution('SD 1.5', [1, 64, 64, 320], 320),
  convolution('SD 1.5', [1, 32, 32, 640], 640),
  convolution('SD 1.5', [1, 16, 16, 1280], 1280),
  convolution('SD 1.5', [1, 8, 8, 1280], 1280),
  convolution('SD 1.5, up', [1, 64, 64, 960], 320),
  convolution('SD 1.5, skip', [1, 64, 64, 960], 320, 1),
  convolution('SD 1.5, down', [1, 64, 64, 320], 320, 3, 2),
  convolution('SD 1.5, in', [1, 64, 64, 4], 320),
  convolution('VAE', [1, 128, 128, 512], 512),
  convolution('VAE', [1, 512, 512, 128], 128),
  product('DiT-S/4, qkv', 512, 384, 1152),
  product('DiT-S/4, up', 512, 384, 1536),
  product('DiT-S/4, down', 512, 1536, 384),
  product('DiT-XL/2, qkv', 256, 1152, 3456),
  product('DiT-XL/2, down', 256, 4608, 1152),
  product('SD 1.5, GEGLU', 4096, 320, 2560),
  product('SD 1.5, q', 1024, 640, 640),
  product('SD 1.5, text', 77, 768, 320),
  product('square', 2048, 2048, 2048),
  product('next to nothing', 16, 16, 16),
  attention('bench UNet', 8, 4, 64, 64, 64),
  attention('DiT-S/4', 8, 6, 64, 64, 64),
  attention('DiT-XL/2', 1, 16, 256, 256, 72),
  attention('SD 1.5', 1, 8, 4096, 4096, 40),
  attention('SD 1.5', 1, 8, 1024, 1024, 80),
  attention('SD 1.5, text', 1, 8, 4096, 77, 40),
];

/** What an operator is called, which says its shape. */
export function nameOf(operator: Operator): string {
  if (operator.kind === 'convolution') {
    const { image, channels, kernel, stride } = operator;
    return `${kernel}x${kernel} ${image.join('x')} to ${channels}${stride === 1 ? '' : ', stride 2'}`;
  }
  if (operator.kind === 'product') return `${operator.rows}x${operator.inner} by ${operator.columns}`;
  const { batch, heads, queries, keys, width } = operator;
  return `${batch}x${heads} heads of ${queries} over ${keys}, ${width} wide`;
}

/** Floating-point operations: two for each multiply-add; padding counts as if it were image, softmax not at all. */
export function operationsOf(operator: Operator): number {
  if (operator.kind === 'convolution') {
    const { image, channels, kernel, stride } = operator;
    const [n, h, w, c] = image;
    return (2 * n * h * w * c * channels * kernel ** 2) / stride ** 2;
  }
  if (operator.kind === 'product') return 2 * operator.rows * operator.inner * operator.columns;
  const { batch, heads, queries, keys, width } = operator;
  return 4 * batch * heads * queries * keys * width;
}
