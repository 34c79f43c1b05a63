import { InvalidArgumentError, type Module, Param, type RandomStream } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { matchesPattern } from './trainable-params.js';

/** A module whose `forward` gives one tensor. */
type Block = Module & { forward(...args: unknown[]): tf.Tensor };

/**
 * Makes the blocks of a model recompute themselves on the way back instead of keeping their intermediate tensors: the
 * memory of a training falls from all of them to the inputs of each block and the inside of one, for one more forward pass. Chen et al.
 * 2016, "Training deep nets with sublinear memory cost". Gradients are the same; what a block draws from a random stream is drawn
 * once and replayed.
 *
 * @param patterns paths of `model.modules()`, in which `*` stands for any text but a dot
 * @param trained the parameters whose gradients will be asked for; all when absent. Those that something stands in for (a LoRA's
 *   changed weights) get theirs in any case, and the others cost nothing.
 * @returns a function that takes it back
 * @throws InvalidArgumentError when a pattern fits no module with a `forward`, or fits one inside another
 */
export function checkpointGradients(
  model: Module,
  patterns: readonly string[],
  { trained }: { readonly trained?: ReadonlySet<Param> } = {},
): () => void {
  const needsGradient = (param: Param) =>
    param.hasValue && (trained === undefined || trained.has(param) || param.value !== param.variable);
  const modules = [...model.modules()].filter(([, module]) => typeof (module as Block).forward === 'function');
  const fits = (path: string, pattern: string) =>
    matchesPattern(path, pattern) && path.split('.').length === pattern.split('.').length;
  const chosen = modules.filter(([path]) => path !== '' && patterns.some((pattern) => fits(path, pattern)));
  const problems = patterns
    .filter((pattern) => !modules.some(([path]) => fits(path, pattern)))
    .map(
      (pattern) =>
        `the pattern '${pattern}' fits no module, for example of ${modules
          .slice(1, 6)
          .map(([path]) => path)
          .join(', ')}`,
    );
  for (const [path] of chosen) {
    const inner = chosen.find(([other]) => other.startsWith(`${path}.`));
    if (inner !== undefined) problems.push(`'${inner[0]}' is inside '${path}': choose one of them`);
  }
  if (problems.length > 0) throw new InvalidArgumentError('checkpointGradients', problems);
  const undo = chosen.map(([path, module]) => {
    const block = module as Block;
    const own = Object.getOwnPropertyDescriptor(block, 'forward');
    const forward = block.forward;
    const params = [...block.params().values()];
    block.forward = (...args) =>
      recomputed(path, params.filter(needsGradient), (...again) => forward.apply(block, again), args);
    return () => {
      if (own === undefined) delete (block as { forward?: unknown }).forward;
      else Object.defineProperty(block, 'forward', own);
    };
  });
  return () => {
    for (const take of undo) take();
  };
}

/** `forward(...args)`, of which only arguments and `params` are kept until the gradient is asked for. */
function recomputed(
  path: string,
  params: readonly Param[],
  forward: (...args: unknown[]) => tf.Tensor,
  args: readonly unknown[],
): tf.Tensor {
  const given = tensorsIn(args);
  const inputs = [...given, ...params.map((param) => param.value)];
  const draws: Float32Array[] = [];
  const recorded = mapped(args, new Map(), (stream) => recording(stream, draws));
  const op = tf.customGrad((...all) => {
    const save = all[inputs.length] as unknown as (tensors: tf.Tensor[]) => void;
    save(inputs);
    const value = forward(...recorded);
    if (!(typeof value === 'object' && 'dataId' in value)) {
      throw new InvalidArgumentError('checkpointGradients', `${path} gives more than one tensor; choose other blocks`);
    }
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]) => {
      const replacement = new Map(given.map((tensor, i) => [tensor, saved[i]!]));
      const values = params.map((param, i) => [param, saved[given.length + i]!] as const);
      const again = () => {
        let at = 0;
        const replay = () => ({ randn: () => draws[at++]!, rand: () => draws[at++]! });
        return Param.substituteAll(values, () => forward(...mapped(args, replacement, replay)));
      };
      return gradientsOf(again, saved, dy);
    };
    return { value, gradFunc };
  });
  return op(...inputs);
}

/** dL / dx of each float tensor, from dL / dy; zeros where y does not depend on x. */
function gradientsOf(f: () => tf.Tensor, xs: readonly tf.Tensor[], dy: tf.Tensor): tf.Tensor[] {
  const engine = tf.engine();
  // The way back of the outer gradient is under way: `gradients` would begin a tape in the place of the outer one and drop it.
  const state = engine.state as { activeTape: unknown };
  const tape = state.activeTape;
  try {
    const floats = xs.filter((x) => x.dtype === 'float32');
    const { grads } = engine.gradients(f, floats, dy, true);
    const byTensor = new Map(floats.map((x, i) => [x, grads[i] as tf.Tensor | null]));
    return xs.map((x) => byTensor.get(x) ?? tf.zeros(x.shape));
  } finally {
    state.activeTape = tape;
  }
}

function isTensor(value: object): value is tf.Tensor {
  return 'dataId' in value && 'dtype' in value;
}

function isStream(value: object): value is RandomStream {
  return 'randn' in value && 'rand' in value;
}

/** Every tensor in arguments, plain objects and arrays. */
function tensorsIn(value: unknown): tf.Tensor[] {
  if (typeof value !== 'object' || value === null) return [];
  if (isTensor(value)) return [value];
  return isPlain(value) ? Object.values(value).flatMap(tensorsIn) : [];
}

/** The arguments with other tensors and streams in their places. */
function mapped<T>(
  value: T,
  tensors: ReadonlyMap<tf.Tensor, tf.Tensor>,
  stream: (of: RandomStream) => RandomStream,
): T {
  if (typeof value !== 'object' || value === null) return value;
  if (isTensor(value)) return (tensors.get(value) ?? value) as T;
  if (isStream(value)) return stream(value) as T;
  if (Array.isArray(value)) return value.map((item) => mapped(item, tensors, stream)) as T;
  if (!isPlain(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, mapped(item, tensors, stream)])) as T;
}

function isPlain(value: object): boolean {
  return Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype;
}

/** The stream, with all that it gives written down. */
function recording(stream: RandomStream, draws: Float32Array[]): RandomStream {
  const noted = (values: Float32Array) => {
    draws.push(values);
    return values;
  };
  return { randn: (n) => noted(stream.randn(n)), rand: (n) => noted(stream.rand(n)) };
}
