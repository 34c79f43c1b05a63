import type { Layout } from '../graph/layout.js';
import { physicalDims, shapeOf } from '../graph/layout.js';
import { type Blocks, brainTable, isConstant, type Narrow } from '../memory/narrow.js';
import type { ElementType } from '../onnx/model.js';
import type { GraphBuilder, Physical } from './builder.js';

/** An array in which a stored input reaches a session. */
export interface Feed {
  readonly name: string;
  readonly type: ElementType;
  readonly dims: readonly number[];
  /** Which of the arrays that it is stored in. */
  readonly part: 'elements' | 'scales';
}

/** The arrays in which the input `name` is fed; none where it is a constant of the program. */
export function feedsOf(name: string, type: ElementType, layout: Layout, narrow: Narrow | undefined): readonly Feed[] {
  const dims = physicalDims(layout);
  if (narrow === undefined) return [{ name, type, dims, part: 'elements' }];
  if (narrow.kind !== 'blocks') {
    return [{ name, type: narrow.kind === 'float16' ? 'float16' : 'uint16', dims, part: 'elements' }];
  }
  if (isConstant(narrow)) return [];
  const { codes, scales } = blockDims(layout, narrow);
  return [
    { name, type: 'uint8', dims: codes, part: 'elements' },
    {
      name: scalesOf(name),
      type: narrow.scales instanceof Uint16Array ? 'float16' : 'float32',
      dims: scales,
      part: 'scales',
    },
  ];
}

const scalesOf = (name: string) => `${name}_scales`;

/** Rows and columns of a matrix in blocks, and how ONNX Runtime takes its codes and scales. */
function blockDims(layout: Layout, { bits, block }: Blocks) {
  const shape = shapeOf(layout);
  const columns = shape.at(-1)!;
  const rows = shape.reduce((n, d) => n * d, 1) / columns;
  return { rows, columns, codes: [rows, columns / block, (block * bits) / 8], scales: [rows, columns / block] };
}

/** float32 elements of an input that is stored narrow. */
export function widened(b: GraphBuilder, name: string, narrow: Narrow, layout: Layout): Physical {
  const dims = physicalDims(layout);
  if (narrow.kind !== 'blocks') {
    if (narrow.kind === 'float16') return { name: b.one('Cast', [name], { to: 1 }), dims, type: 'float32', layout };
    // ONNX Runtime's binding has no bfloat16: the bits are looked up in a table of all such numbers.
    const table = b.bytes('float32', [65536], new Uint8Array(brainTable().buffer));
    return { name: b.one('Gather', [table, b.one('Cast', [name], { to: 6 })]), dims, type: 'float32', layout };
  }
  const { bits, block, packed, scales } = narrow;
  const { rows, columns, ...shapes } = blockDims(layout, narrow);
  const codes = name;
  if (isConstant(narrow)) {
    b.bytes('uint8', shapes.codes, packed, codes);
    b.bytes('float32', shapes.scales, new Uint8Array(scales.buffer), scalesOf(name));
  }
  const isHalf = scales instanceof Uint16Array;
  const factors = isHalf ? b.one('Cast', [scalesOf(name)], { to: 1 }) : scalesOf(name);
  const bytes = b.one('Reshape', [codes, b.ints([-1, 1])]);
  const nibbles = (): string => {
    const low = b.one('BitwiseAnd', [bytes, b.bytes('uint8', [1], Uint8Array.of(15))]);
    const high = b.one('BitShift', [bytes, b.bytes('uint8', [1], Uint8Array.of(4))], { direction: 'RIGHT' });
    return b.one('Concat', [low, high], { axis: 1 });
  };
  const q = b.one('Cast', [bits === 8 ? bytes : nibbles()], { to: 1 });
  const centred = b.one('Sub', [b.one('Reshape', [q, b.ints([-1, block])]), b.scalar(2 ** (bits - 1))]);
  const wide = b.one('Mul', [centred, b.one('Reshape', [factors, b.ints([-1, 1])])]);
  return {
    name: b.one('Reshape', [wide, b.ints(dims)]),
    dims,
    type: 'float32',
    layout,
    origin: { blocks: { codes, factors, rows, columns, bits, block, integer: narrow.integer } },
  };
}

/** a w^T with w stored in blocks, `[rows of a, K]` in a name; by ONNX Runtime's own kernel for such weights. */
export function multiplyBlocks(
  b: GraphBuilder,
  a: string,
  w: NonNullable<NonNullable<Physical['origin']>['blocks']>,
): string {
  return b.one(
    'MatMulNBits',
    [a, w.codes, w.factors],
    { K: w.columns, N: w.rows, bits: w.bits, block_size: w.block, accuracy_level: w.integer ? 4 : 0 },
    'com.microsoft',
  );
}
