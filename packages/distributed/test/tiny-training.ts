import { Module, normal, Param, type RandomStream, zeros } from '@mezzotint/core';
import { TorchGenerator, type TorchGeneratorState } from '@mezzotint/random';
import {
  adamW,
  constantRate,
  type LossInput,
  type Optimizer,
  type OptimizerState,
  type TrainStep,
  train,
} from '@mezzotint/training';
import * as tf from '@tensorflow/tfjs-core';
import { type Group, gradientExchange, shardedOptimizer } from '../src/index.js';

/** Two layers, of which the second is there for some batches only. */
export class Net extends Module {
  readonly a: Param;
  readonly bias: Param;
  readonly b: Param;

  constructor() {
    super();
    this.a = new Param([3, 40], { init: normal(0.5) });
    this.bias = new Param([40], { init: zeros });
    this.b = new Param([40, 2], { init: normal(0.5) });
  }

  forward(x: tf.Tensor2D): tf.Tensor2D {
    return tf.tidy(() => tf.matMul(tf.tanh(tf.add(tf.matMul(x, this.a.value), this.bias.value)), this.b.value));
  }
}

export interface Run {
  readonly weights: Readonly<Record<string, readonly number[]>>;
  readonly steps: readonly TrainStep[];
  readonly optimizer: OptimizerState;
  readonly rng: TorchGeneratorState;
}

/** How a rank trains. */
export interface RunOptions {
  readonly microBatches: number;
  readonly from?: Run;
  readonly until?: number;
  readonly sharded?: boolean;
  readonly wire?: 'float32' | 'bfloat16';
  readonly maxGradientNorm?: number;
  readonly signal?: AbortSignal;
  readonly loss?: (input: LossInput<number>, net: Net) => tf.Tensor1D;
}

/** Trains as one rank of a group, on data that depends on the update and the micro-batch alone, with noise of the stream. */
export async function trainRank(group: Group, options: RunOptions): Promise<Run> {
  const { microBatches, from, until = 4, sharded = false, wire = 'float32', maxGradientNorm = 0.05 } = options;
  const net = new Net().init(7);
  const rng = from === undefined ? new TorchGenerator(1) : TorchGenerator.fromState(from.rng);
  const accumulation = microBatches / group.size;
  const first = group.rank * accumulation;
  const start = from?.steps.length ?? 0;
  let taken = start * accumulation;
  const data = {
    next: async () => {
      const update = Math.floor(taken / accumulation);
      return update * microBatches + first + (taken++ % accumulation);
    },
  };
  const make = (params: ReadonlyMap<string, Param>): Optimizer => adamW(params, { epsilon: 1e-4 });
  const params = net.params();
  const zero = sharded ? shardedOptimizer(group, params, make) : undefined;
  const optimizer = zero ?? make(params);
  if (from !== undefined) {
    const shaped = Object.entries(from.weights).map(([name, values]) => {
      return [name, { shape: params.get(name)!.fileShape, data: Float32Array.from(values) }] as const;
    });
    await net.load(Object.fromEntries(shaped));
    optimizer.load(from.optimizer);
  }
  const { exchange, signal } = gradientExchange(group, {
    ...{ bucketBytes: 300, wire },
    ...(options.signal && { signal: options.signal }),
    ...(zero && { owner: zero.owner }),
  });
  const steps: TrainStep[] = [...(from?.steps ?? [])];
  const updates = train<number>({
    ...{ data, rng, optimizer, accumulation, share: { first, of: microBatches }, from: start, until, maxGradientNorm },
    ...(group.size > 1 || options.signal ? { exchange, signal } : {}),
    learningRate: constantRate(0.02),
    loss: (input) => (options.loss ?? lossOf)(input, net),
  });
  for await (const step of updates) steps.push(step);
  const weights: Record<string, number[]> = {};
  for (const [name, { data: values }] of Object.entries(await net.save())) weights[name] = [...values];
  const state = await optimizer.save();
  optimizer.dispose();
  for (const param of params.values()) param.variable.dispose();
  return { weights, steps, optimizer: state, rng: JSON.parse(JSON.stringify(rng.state())) };
}

export function lossOf(
  { batch, rng, observe }: { batch: number; rng: RandomStream; observe: LossInput<number>['observe'] },
  net: Net,
) {
  return tf.tidy(() => {
    const x = tf.tensor2d(rng.randn(15), [5, 3]);
    const target = tf.tensor2d(new TorchGenerator(batch).randn(10), [5, 2]);
    const loss = tf.sum(tf.squaredDifference(net.forward(x), target), 1) as tf.Tensor1D;
    observe('batch', tf.scalar(batch));
    return loss;
  });
}
