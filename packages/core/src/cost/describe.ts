import type * as tf from '@tensorflow/tfjs-core';
import { InvalidArgumentError } from '../errors.js';
import type { Module } from '../module.js';
import { Param } from '../param.js';
import type { InputArgument, InputSpec } from '../preset.js';
import { onShapes, shapeTensor } from './shape-backend.js';

/** What one module of a model costs, all that is below it included. */
export interface ModuleCost {
  /** Its place in the model; '' is the model itself. */
  readonly path: string;
  /** The name of its class. */
  readonly type: string;
  /** Numbers that the model learned or was given, buffers not counted. */
  readonly parameters: number;
  /** Multiply-adds of one forward pass of the model that happen in this module. */
  readonly macs: number;
  /** Shape of what its `forward` returned last; undefined when it was not called or did not return a tensor. */
  readonly output: readonly number[] | undefined;
}

/** What a model costs. */
export interface ModelCost {
  /** Numbers that the model learned or was given, buffers (random frequencies, filters) not counted, as in the papers. */
  readonly parameters: number;
  /** Parameters that training changes. */
  readonly trainable: number;
  /** Multiply-adds of one forward pass: linear layers, convolutions and both matrix products of attention. */
  readonly macs: number;
  /** Floating-point operations of the same: two for each multiply-add. */
  readonly flops: number;
  /**
   * What EDM2's tables call Gflops, without the giga: multiply-adds plus element-wise operations, those on weights (their
   * normalisation) included. EDM2 (Karras et al. 2024), table 6.
   */
  readonly edm2Flops: number;
  /** The model and every module below it, in the order of the tree. */
  readonly modules: readonly ModuleCost[];
}

type Forward = (...inputs: unknown[]) => unknown;

/**
 * Parameters and multiply-adds (MACs) of a model, in all and by module, for inputs of the given shapes. Runs the
 * model's own `forward` on tensors that have shapes and no numbers: nothing is allocated, so a model of any size can be
 * described without weights, and needs no backend. MACs are counted as the papers' tables do ("Gflops" of DiT and ADM):
 * linear layers, convolutions and both matrix products of attention; element-wise work and norms are not counted but in
 * `edm2Flops`. The model and the active backend are afterwards as they were, also when `forward` throws.
 *
 * @param inputs the arguments of `forward`: shapes, objects of shapes, or undefined for an argument left out
 * @param run what to run when it is not `model.forward(...inputs)`, for example `(vae, [z]) => vae.decode(z)`
 * @throws InvalidArgumentError when the model has no `forward`, or keeps a tensor past its end
 * @throws MezzotintError when `forward` uses an op without a shape rule (named), or reads numbers
 */
export function describe<M extends Module>(
  model: M,
  inputs: readonly InputArgument[],
  run: (model: M, inputs: readonly never[]) => unknown = callForward,
): ModelCost {
  const modules = model.modules();
  const meter = new Meter(modules);
  const kept = onShapes(meter.count, () => {
    const weights = new Map([...model.params().values()].map((param) => [param, shapeTensor(param.shape)] as const));
    const args = inputs.map(shapesOf);
    meter.watch(() => Param.substituteAll(weights, () => void run(model, args as never[])));
  });
  if (kept > 0) {
    throw new InvalidArgumentError(
      'describe',
      `${model.constructor.name} keeps ${kept} tensor${kept === 1 ? '' : 's'} past the end of forward; return them instead`,
    );
  }
  const parametersOf = (module: Module) => sizeOfAll(new Set(module.params().values()));
  const params = new Set(model.params().values());
  return {
    parameters: sizeOfAll(params),
    trainable: sizeOfAll(new Set([...params].filter((param) => param.trainable))),
    macs: meter.total,
    flops: 2 * meter.total,
    edm2Flops: meter.total + meter.elementwise,
    modules: [...modules].map(([path, module]) => ({
      path,
      type: module.constructor.name,
      parameters: parametersOf(module),
      macs: path === '' ? meter.total : meter.macs(module),
      output: meter.output(module),
    })),
  };
}

/**
 * Adds up multiply-adds, in all, and for the modules whose `forward` is running with those above them: a model may run the
 * parts of a child without the child's own `forward`.
 */
class Meter {
  total = 0;
  elementwise = 0;
  readonly #running: Module[] = [];
  readonly #macs = new Map<Module, number>();
  readonly #outputs = new Map<Module, readonly number[] | undefined>();

  readonly #above = new Map<Module, readonly Module[]>();

  constructor(readonly modules: ReadonlyMap<string, Module>) {
    for (const [path, module] of modules) {
      const names = path.split('.');
      const above = names.flatMap((_, i) => modules.get(names.slice(0, i).join('.')) ?? []);
      // A module at two places counts for what is above both.
      const common = this.#above.get(module)?.filter((other) => above.includes(other)) ?? above;
      this.#above.set(module, [...common, module]);
    }
  }

  readonly count = (macs: number, elementwise = 0): void => {
    this.elementwise += elementwise;
    if (macs === 0) return;
    this.total += macs;
    const counted = new Set(this.#running.flatMap((module) => this.#above.get(module)!));
    for (const module of counted) this.#macs.set(module, this.macs(module) + macs);
  };

  macs(module: Module): number {
    return this.#macs.get(module) ?? 0;
  }

  output(module: Module): readonly number[] | undefined {
    return this.#outputs.get(module);
  }

  /** Runs `body` with the `forward` of every module under watch. */
  watch(body: () => void): void {
    const watched: Module[] = [];
    try {
      for (const module of new Set(this.modules.values())) {
        const { forward } = module as { forward?: Forward };
        if (typeof forward !== 'function' || Object.hasOwn(module, 'forward')) continue;
        Object.defineProperty(module, 'forward', { value: this.#watched(module, forward), configurable: true });
        watched.push(module);
      }
      body();
    } finally {
      for (const module of watched) delete (module as { forward?: Forward }).forward;
    }
  }

  #watched(module: Module, forward: Forward): Forward {
    return (...inputs) => {
      this.#running.push(module);
      try {
        const output = forward.apply(module, inputs);
        this.#outputs.set(module, (output as tf.Tensor | undefined)?.shape);
        return output;
      } finally {
        this.#running.pop();
      }
    };
  }
}

function callForward(model: Module, inputs: readonly never[]): unknown {
  const { forward } = model as { forward?: Forward };
  if (typeof forward !== 'function') {
    throw new InvalidArgumentError('describe', `${model.constructor.name} has no forward; pass what to run instead`);
  }
  return forward.apply(model, [...inputs]);
}

function shapesOf(input: InputArgument): unknown {
  if (input === undefined) return undefined;
  if (isSpec(input)) return shapeTensor(input.shape, input.dtype);
  return Object.fromEntries(Object.entries(input).map(([name, spec]) => [name, shapeTensor(spec.shape, spec.dtype)]));
}

function isSpec(input: NonNullable<InputArgument>): input is InputSpec {
  return Array.isArray(input.shape);
}

function sizeOfAll(params: ReadonlySet<Param>): number {
  let total = 0;
  for (const param of params) if (!param.buffer) total += param.size;
  return total;
}
