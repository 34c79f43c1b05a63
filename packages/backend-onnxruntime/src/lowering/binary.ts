import { broadcast, isStretched, reshaped, shapeOf } from '../graph/layout.js';
import { operation } from '../graph/node.js';
import type { GraphBuilder, OutputSpec, Physical } from './builder.js';
import { foldVector } from './channel-affine.js';
import { elementwise } from './elementwise.js';

type Formula = (b: GraphBuilder, x: string, y: string) => string;

const direct =
  (op: string): Formula =>
  (b, x, y) =>
    b.one(op, [x, y]);

const floorMod: Formula = (b, x, y) => {
  // The remainder has the divisor's sign: r = fmod(x, y), plus y where the signs differ.
  const r = b.one('Mod', [x, y], { fmod: 1 });
  const zero = b.scalar(0);
  const negative = (v: string) => b.one('Less', [v, zero]);
  const differ = b.one('Xor', [negative(r), negative(y)]);
  const nonzero = b.one('Not', [b.one('Equal', [r, zero])]);
  return b.one('Where', [b.one('And', [differ, nonzero]), b.one('Add', [r, y]), r]);
};

const FLOAT: Readonly<Record<string, Formula>> = {
  Add: direct('Add'),
  Sub: direct('Sub'),
  Multiply: direct('Mul'),
  RealDiv: direct('Div'),
  FloorDiv: (b, x, y) => b.one('Floor', [b.one('Div', [x, y])]),
  // NaN in either operand comes out, as in TensorFlow.js.
  Maximum: direct('Max'),
  Minimum: direct('Min'),
  Mod: floorMod,
  Pow: direct('Pow'),
  SquaredDifference: (b, x, y) => {
    const d = b.one('Sub', [x, y]);
    return b.one('Mul', [d, d]);
  },
  Prelu: (b, x, y) => b.one('Where', [b.one('Less', [x, b.scalar(0)]), b.one('Mul', [x, y]), x]),
  EluGrad: (b, dy, y) => {
    const slope = b.one('Add', [y, b.scalar(1)]);
    return b.one('Where', [b.one('GreaterOrEqual', [y, b.scalar(0)]), dy, b.one('Mul', [dy, slope])]);
  },
};

/** floor(x / y) and x - y floor(x / y) of int32 in float64, which holds them exactly; 0 where y is 0, as on cpu. */
const wholeQuotient =
  (remainder: boolean): Formula =>
  (b, x, y) => {
    const [p, q] = [b.one('Cast', [x], { to: 11 }), b.one('Cast', [y], { to: 11 })];
    const floor = b.one('Floor', [b.one('Div', [p, q])]);
    const result = remainder ? b.one('Sub', [p, b.one('Mul', [q, floor])]) : floor;
    const zero = b.scalar(0, 'int32');
    return b.one('Where', [b.one('Equal', [y, zero]), zero, b.one('Cast', [result], { to: 6 })]);
  };

const INT: Readonly<Record<string, Formula>> = {
  Add: direct('Add'),
  Sub: direct('Sub'),
  Multiply: direct('Mul'),
  FloorDiv: wholeQuotient(false),
  Mod: wholeQuotient(true),
  BitwiseAnd: direct('BitwiseAnd'),
  Maximum: direct('Max'),
  Minimum: direct('Min'),
  SquaredDifference: (b, x, y) => {
    const d = b.one('Sub', [x, y]);
    return b.one('Mul', [d, d]);
  },
};

const COMPARE: Readonly<Record<string, Formula>> = {
  Equal: direct('Equal'),
  NotEqual: (b, x, y) => b.one('Not', [b.one('Equal', [x, y])]),
  Greater: direct('Greater'),
  GreaterEqual: direct('GreaterOrEqual'),
  Less: direct('Less'),
  LessEqual: direct('LessOrEqual'),
  LogicalAnd: direct('And'),
  LogicalOr: direct('Or'),
  LogicalXor: direct('Xor'),
};

export const FLOAT_BINARY: ReadonlySet<string> = new Set(Object.keys(FLOAT));
export const INT_BINARY: ReadonlySet<string> = new Set(Object.keys(INT));
export const COMPARISONS: ReadonlySet<string> = new Set(Object.keys(COMPARE));

/** z = f(x, y) with broadcasting, for a named f. */
export const binary = operation<{ name: string }>('Binary', (b, [x, y], [out], { name }) => {
  const simple = simplify(name, x!, y!, out!) ?? (name === 'Add' ? foldedSum(x!, y!, out!) : undefined);
  if (simple !== undefined) return [simple];
  if (name === 'Add' || name === 'Multiply') {
    const folded = foldVector(b, name, x!, y!, out!.shape) ?? foldVector(b, name, y!, x!, out!.shape);
    if (folded !== undefined) return [folded];
  }
  const formula = COMPARE[name] ?? (x!.type === 'int32' ? INT : FLOAT)[name]!;
  const made = elementwise(b, [x!, y!], out!, (p, q) => formula(b, p, q));
  const isProduct = name === 'Multiply' && x!.type === 'float32' && sameShape(x!, out!) && sameShape(y!, out!);
  return [isProduct ? { ...made, origin: { product: [x!, y!] } } : made];
});

function sameShape(x: Physical, { shape }: OutputSpec): boolean {
  return String(shapeOf(x.layout)) === String(shape);
}

/** Arithmetic with tensors of ones and zeros, which gradients are full of, costs nothing. */
function simplify(name: string, x: Physical, y: Physical, { shape, type }: OutputSpec): Physical | undefined {
  const stretched = (value: Physical): Physical =>
    String(shapeOf(value.layout)) === String(shape)
      ? value
      : { ...value, layout: broadcast(value.layout, shape), fusable: undefined, origin: undefined };
  if (type === 'bool') return undefined;
  if (name === 'Multiply') {
    if (y.fill === 1) return stretched(x);
    if (x.fill === 1) return stretched(y);
  }
  if ((name === 'Add' || name === 'Sub') && y.fill === 0) return stretched(x);
  if (name === 'Add' && x.fill === 0) return stretched(y);
  if (name === 'RealDiv' && y.fill === 1) return stretched(x);
  return undefined;
}

/** Folds an addition into the convolution that made one side, when nothing else wants that side. */
function foldedSum(x: Physical, y: Physical, { shape }: OutputSpec): Physical | undefined {
  for (const [made, other] of [
    [x, y],
    [y, x],
  ] as const) {
    if (!made.sole || made.fusable === undefined || made.layout.axes.length !== shape.length) continue;
    const otherShape = shapeOf(other.layout);
    if (String(shapeOf(made.layout)) !== String(shape)) continue;
    const isVector = otherShape.slice(0, -1).every((size) => size === 1) && otherShape.at(-1) === shape.at(-1);
    if (isVector && made.fusable.bias !== undefined) {
      return made.fusable.bias({ ...other, layout: reshaped(other.layout, [shape.at(-1)!])! });
    }
    if (String(otherShape) === String(shape) && made.fusable.sum !== undefined && !isStretched(other.layout)) {
      return made.fusable.sum(other);
    }
  }
  return undefined;
}

/** x where the condition holds, else y. */
export const select = operation<object>('Select', (b, [condition, x, y], [out]) => [
  elementwise(b, [condition!, x!, y!], out!, (c, p, q) => b.one('Where', [c, p, q])),
]);

/** x + y + ... */
export const addN = operation<object>('AddN', (b, inputs, [out]) => [
  elementwise(b, inputs, out!, (...names) =>
    out!.type === 'int32'
      ? names.reduce((sum, name) => b.one('Add', [sum, name]))
      : names.length === 1
        ? names[0]!
        : b.one('Sum', names),
  ),
]);
