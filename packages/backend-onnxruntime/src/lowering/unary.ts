import { operation } from '../graph/node.js';
import type { GraphBuilder } from './builder.js';
import { map } from './elementwise.js';

type Formula = (b: GraphBuilder, x: string) => string;

const direct =
  (op: string): Formula =>
  (b, x) =>
    b.one(op, [x]);

const log1p: Formula = (b, x) => {
  // log(1 + x) = x log(u) / (u - 1) with u = fl(1 + x): Kahan's form, exact where u rounds to 1.
  const one = b.scalar(1);
  const u = b.one('Add', [x, one]);
  const d = b.one('Sub', [u, one]);
  const exact = b.one('Equal', [d, b.scalar(0)]);
  const safe = b.one('Where', [exact, one, d]);
  const scaled = b.one('Mul', [b.one('Log', [u]), b.one('Div', [x, safe])]);
  const infinite = b.one('IsInf', [x], { detect_negative: 0 });
  return b.one('Where', [infinite, x, b.one('Where', [exact, x, scaled])]);
};

const expm1: Formula = (b, x) => {
  // e^x - 1 = 2 sinh(x / 2) e^(x / 2) for small x, where the difference would cancel.
  const half = b.one('Mul', [x, b.scalar(0.5)]);
  const small = b.one('Mul', [b.one('Mul', [b.one('Sinh', [half]), b.scalar(2)]), b.one('Exp', [half])]);
  const large = b.one('Sub', [b.one('Exp', [x]), b.scalar(1)]);
  const isSmall = b.one('Less', [b.one('Abs', [x]), b.scalar(1)]);
  return b.one('Where', [isSmall, small, large]);
};

/** Formulas of float32 functions of one argument, by TensorFlow.js's kernel names. */
const FLOAT: Readonly<Record<string, Formula>> = {
  Abs: direct('Abs'),
  Acos: direct('Acos'),
  Acosh: direct('Acosh'),
  Asin: direct('Asin'),
  Asinh: direct('Asinh'),
  Atan: direct('Atan'),
  Atanh: direct('Atanh'),
  Ceil: direct('Ceil'),
  Cos: direct('Cos'),
  Cosh: direct('Cosh'),
  Erf: direct('Erf'),
  Exp: direct('Exp'),
  Expm1: expm1,
  Floor: direct('Floor'),
  Log: direct('Log'),
  Log1p: log1p,
  Neg: direct('Neg'),
  Reciprocal: direct('Reciprocal'),
  Relu: direct('Relu'),
  Relu6: (b, x) => b.one('Clip', [x, b.scalar(0), b.scalar(6)]),
  Round: direct('Round'),
  Rsqrt: (b, x) => b.one('Reciprocal', [b.one('Sqrt', [x])]),
  // ONNX Runtime's Sigmoid is 0 below -18 and loses digits long before, so that its logarithm is wrong.
  Sigmoid: (b, x) => b.one('Reciprocal', [b.one('Add', [b.one('Exp', [b.one('Neg', [x])]), b.scalar(1)])]),
  Sign: (b, x) => b.one('Where', [b.one('IsNaN', [x]), b.scalar(0), b.one('Sign', [x])]),
  Sin: direct('Sin'),
  Sinh: direct('Sinh'),
  Softplus: (b, x) => {
    // log(1 + e^x) = max(x, 0) + log(1 + e^-|x|): never overflows.
    const tail = log1p(b, b.one('Exp', [b.one('Neg', [b.one('Abs', [x])])]));
    return b.one('Add', [b.one('Relu', [x]), tail]);
  },
  Sqrt: direct('Sqrt'),
  Square: (b, x) => b.one('Mul', [x, x]),
  Tan: (b, x) => {
    // In float64: near a pole, float32 loses digits.
    const wide = b.one('Cast', [x], { to: 11 });
    return b.one('Cast', [b.one('Div', [b.one('Sin', [wide]), b.one('Cos', [wide])])], { to: 1 });
  },
  Tanh: direct('Tanh'),
  Elu: (b, x) => b.one('Where', [b.one('Less', [x, b.scalar(0)]), expm1(b, x), x]),
  Selu: (b, x) => {
    const alpha = b.one('Mul', [expm1(b, x), b.scalar(1.7580993408473768)]);
    return b.one('Where', [b.one('Less', [x, b.scalar(0)]), alpha, b.one('Mul', [x, b.scalar(1.0507009873554805)])]);
  },
  IsNan: direct('IsNaN'),
  IsInf: direct('IsInf'),
  IsFinite: (b, x) => b.one('Not', [b.one('Or', [b.one('IsNaN', [x]), b.one('IsInf', [x])])]),
  MezzotintSilu: (b, x) =>
    b.emit('QuickGelu', [x], { attributes: { alpha: { float: 1 } }, domain: 'com.microsoft' })[0]!,
};

/** The same for int32, where ONNX Runtime has the operator. */
const INT: Readonly<Record<string, Formula>> = {
  Abs: direct('Abs'),
  Neg: direct('Neg'),
  Relu: direct('Relu'),
  Sign: direct('Sign'),
  Square: (b, x) => b.one('Mul', [x, x]),
  Ceil: (_, x) => x,
  Floor: (_, x) => x,
  Round: (_, x) => x,
};

export const FLOAT_UNARY: ReadonlySet<string> = new Set(Object.keys(FLOAT));
export const INT_UNARY: ReadonlySet<string> = new Set(Object.keys(INT));

/** y = f(x) for a named f. */
export const unary = operation<{ name: string }>('Unary', (b, [x], [out], { name }) => {
  const formula = (x!.type === 'int32' ? INT : FLOAT)[name]!;
  const made = map(x!, out!.type, (input) => formula(b, input));
  return [name === 'Square' && out!.type === 'float32' ? { ...made, origin: { square: x! } } : made];
});

/** max(x, alpha x) for 0 < alpha < 1, else alpha x below zero. */
export const leakyRelu = operation<{ alpha: number }>('LeakyRelu', (b, [x], _, { alpha }) => [
  map(x!, 'float32', (input) => b.one('LeakyRelu', [input], { alpha: { float: alpha } })),
]);

/** 1 where x > 0, alpha elsewhere; NaN stays. */
export const step = operation<{ alpha: number }>('Step', (b, [x], _, { alpha }) => [
  map(x!, 'float32', (input) => {
    const positive = b.one('Greater', [input, b.scalar(0)]);
    const value = b.one('Where', [positive, b.scalar(1), b.scalar(alpha)]);
    return b.one('Where', [b.one('IsNaN', [input]), input, value]);
  }),
]);

/** min(max(x, low), high). The bounds are inputs: a threshold that changes from step to step is one program. */
export const clip = operation<object>('Clip', (b, [x, low, high]) => [
  map(x!, x!.type, (input) => b.one('Clip', [input, b.view(low!, []), b.view(high!, [])])),
]);

/** To another element type: truncation to int32, "is not zero" to bool. */
export const cast = operation<object>('Cast', (b, [x], [out]) => {
  if (x!.type === out!.type) return [x!];
  const to = { float32: 1, int32: 6, bool: 9 }[out!.type as 'float32' | 'int32' | 'bool'];
  return [{ ...map(x!, out!.type, (input) => b.one('Cast', [input], { to })), fill: x!.fill }];
});

/** The opposite of a bool. */
export const not = operation<object>('Not', (b, [x]) => [map(x!, 'bool', (input) => b.one('Not', [input]))]);
