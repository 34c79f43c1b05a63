import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { type AttentionCall, TorchGenerator, withHooks } from '@mezzotint/core';
import { productsSaved } from '@mezzotint/testing';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { Flux, MMDiT } from '../src/index.js';
import { relativeError } from './support/golden.js';
import { randomise, tinyFlux, tinyMMDiT } from './support/tiny.js';

const draw = (seed: number, ...shape: number[]) =>
  tf.tensor(new TorchGenerator(seed).randn(shape.reduce((a, b) => a * b)), shape);
const images = (seed: number, ...shape: number[]) => draw(seed, ...shape) as tf.Tensor4D;
const told = (n: number, tokens = 3) => ({
  context: draw(8, n, tokens, 6) as tf.Tensor3D,
  pooled: draw(9, n, 5) as tf.Tensor2D,
});
const guidance = (n: number, value = 2) => tf.fill([n], value) as tf.Tensor1D;

async function built<M extends MMDiT | Flux>(model: M): Promise<M> {
  await randomise(model);
  return model;
}

describe.each(await testEngines())('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  describe('what a forward pass refuses', () => {
    // Problems are found before weights are touched: these models have none.
    const [sd3, dev] = [new MMDiT(tinyMMDiT), new Flux(tinyFlux)];
    const schnell = new Flux({ ...tinyFlux, guidanceEmbed: false });
    const t = tf.tensor1d([0.5]);
    const x = images(0, 1, 4, 4, 2);
    const text = told(1);
    test.each<[string, () => unknown, RegExp]>([
      ['channels', () => sd3.forward(images(0, 1, 4, 4, 3), t, text), /MMDiT: x: expected \[N, H, W, 2\], got/],
      ['half patches', () => dev.forward(images(0, 1, 5, 4, 2), t, text), /Flux:\s+x: .*that 2 divides, got 5 x 4/],
      ['more patches than positions', () => sd3.forward(images(0, 1, 10, 4, 2), t, text), /at most 8 x 8 .*got 10 x 4/],
      ['all at once', () => sd3.forward(x, tf.tensor1d([1, 2]), told(2)), /time: .*\n.*context: .*\n.*pooled: /],
      ['no guidance', () => dev.forward(x, t, text), /guidance: expected \[1\], .*got none/],
      [
        'guidance where it has no place',
        () => schnell.forward(x, t, { ...text, guidance: guidance(1) }),
        /leave it out/,
      ],
      ['no weights', () => sd3.forward(x, t, text), /init\(seed\) or load/],
    ])('%s', (_, run, message) => {
      expect(run).toThrow(message);
    });
  });

  test('fresh models answer zero: their last layer starts there', () => {
    const [x, t] = [images(1, 1, 4, 6, 2), tf.tensor1d([0.5])];
    const sd3 = new MMDiT(tinyMMDiT).init(0).forward(x, t, told(1));
    const flux = new Flux(tinyFlux).init(0).forward(x, t, { ...told(1), guidance: guidance(1) });
    expect([sd3.shape, flux.shape]).toEqual([
      [1, 4, 6, 3],
      [1, 4, 6, 2],
    ]);
    expect(Math.max(...sd3.dataSync().map(Math.abs), ...flux.dataSync().map(Math.abs))).toBe(0);
  });

  test('text, pooled text, time and guidance reach the output; images of a batch do not see each other', async () => {
    const flux = await built(new Flux(tinyFlux));
    const sd3 = await built(new MMDiT(tinyMMDiT));
    const x = images(1, 2, 4, 6, 2);
    const t = tf.tensor1d([0.2, 0.7]);
    const text = told(2);
    const other = { context: tf.mul(text.context, 2) as tf.Tensor3D, pooled: tf.mul(text.pooled, 2) as tf.Tensor2D };
    const slice = <T extends tf.Tensor>(whole: T) => tf.slice(whole, 1, 1) as T;
    for (const run of [
      (x: tf.Tensor4D, t: tf.Tensor1D, told: typeof text) => sd3.forward(x, tf.mul(t, 1000), told).dataSync(),
      (x: tf.Tensor4D, t: tf.Tensor1D, told: typeof text) =>
        flux.forward(x, t, { ...told, guidance: guidance(x.shape[0]) }).dataSync(),
    ]) {
      const plain = run(x, t, text);
      expect(relativeError(run(x, t, { ...text, context: other.context }), plain)).toBeGreaterThan(0.001);
      expect(relativeError(run(x, t, { ...text, pooled: other.pooled }), plain)).toBeGreaterThan(0.001);
      expect(relativeError(run(x, tf.tensor1d([0.3, 0.7]), text), plain)).toBeGreaterThan(0.001);
      const second = run(slice(x), slice(t), { context: slice(text.context), pooled: slice(text.pooled) });
      // The same sums; float32 leaves room for another order only.
      expect(relativeError(second, plain.slice(plain.length / 2))).toBeLessThan(1e-5);
    }
    const guided = (scale: number) => flux.forward(x, t, { ...text, guidance: guidance(2, scale) }).dataSync();
    expect(relativeError(guided(2), guided(3))).toBeGreaterThan(0.001);
  });

  test('guidance sees every attention, and can leave blocks out', async () => {
    const [x, t] = [images(1, 1, 4, 4, 2), tf.tensor1d([0.5])];
    const sd3 = await built(new MMDiT(tinyMMDiT));
    const flux = await built(new Flux(tinyFlux));
    const { attn2, attn } = sd3.joint_blocks[0]!.x_block;
    for (const [run, asked, layer] of [
      [() => sd3.forward(x, t, told(1)), [attn, attn2, sd3.joint_blocks[1]!.x_block.attn], sd3.joint_blocks[0]],
      [
        () => flux.forward(x, t, { ...told(1), guidance: guidance(1) }),
        [flux.double_blocks[0]!.img_attn, ...flux.single_blocks],
        flux.single_blocks[1],
      ],
    ] as const) {
      const seen: unknown[] = [];
      const attention = (call: AttentionCall) => {
        seen.push(call.by);
        return call.attend();
      };
      const watched = withHooks({ attention }, () => run().dataSync());
      expect(seen).toEqual(asked);
      expect(watched).toEqual(run().dataSync());
      const without = withHooks({ skips: (other) => other === layer }, () => run().dataSync());
      expect(relativeError(without, watched)).toBeGreaterThan(0.01);
    }
  });

  test('what is made of text and guidance is made once a run', async () => {
    const text = told(1);
    const sd3 = await built(new MMDiT(tinyMMDiT));
    const sd3Step = (sigma: number) => () => sd3.forward(images(1, 1, 4, 4, 2), tf.tensor1d([1000 * sigma]), text);
    // The map of the tokens, and the two of the pooled text.
    expect(await productsSaved([text.context, text.pooled], [sd3Step(0.8), sd3Step(0.3)])).toBe(3);
    const dev = await built(new Flux(tinyFlux));
    const scale = guidance(1);
    const fluxStep = (sigma: number) => () =>
      dev.forward(images(1, 1, 4, 4, 2), tf.tensor1d([sigma]), { ...text, guidance: scale });
    expect(await productsSaved([text.context, text.pooled, scale], [fluxStep(0.8), fluxStep(0.3)])).toBe(5);
  });

  test('nothing is left behind', async () => {
    const flux = await built(new Flux(tinyFlux));
    const sd3 = await built(new MMDiT(tinyMMDiT));
    const [x, t, text, scale] = [images(1, 1, 4, 4, 2), tf.tensor1d([0.5]), told(1), guidance(1)];
    const before = tf.memory().numTensors;
    sd3.forward(x, t, text).dispose();
    flux.forward(x, t, { ...text, guidance: scale }).dispose();
    const broken = {
      attention: () => {
        throw new Error('in the middle');
      },
    };
    expect(() => withHooks(broken, () => sd3.forward(x, t, text))).toThrow('in the middle');
    expect(() => withHooks(broken, () => flux.forward(x, t, { ...text, guidance: scale }))).toThrow('in the middle');
    expect(tf.memory().numTensors).toBe(before);
  });
});
