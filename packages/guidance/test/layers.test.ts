import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { type Denoiser, isSkipped, Module } from '@mezzotint/core';
import { attention } from '@mezzotint/layers';
import { ADMUNet } from '@mezzotint/unet';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  classifierFree,
  layersAt,
  perturbedAttention,
  selfAttention,
  skipLayer,
  smoothedEnergy,
  together,
} from '../src/index.js';
import { at, expectClose } from './engine.js';

/** Self-attention over the pixels, with keys that are the queries times a factor. */
class Attending extends Module {
  constructor(readonly factor: number) {
    super();
  }
  forward(x: tf.Tensor4D): tf.Tensor4D {
    if (isSkipped(this)) return tf.clone(x);
    return tf.tidy(() => {
      const [n, h, w, c] = x.shape;
      const tokens = tf.reshape(x, [n, 1, h * w, c]) as tf.Tensor4D;
      const mixed = attention(tokens, tf.mul(tokens, this.factor), tokens, { by: this });
      return tf.add(x, tf.reshape(mixed, x.shape));
    });
  }
}

class Net extends Module {
  readonly blocks = [new Attending(2), new Attending(-1)];
  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => this.blocks.reduce((h, block) => block.forward(h), x));
  }
}

const net = new Net();
const denoiser: Denoiser<number> = (x, _, cond) => tf.tidy(() => tf.mul(net.forward(tf.mul(x, cond)), 0.5));
const first = layersAt(net, ['blocks.0']);
const values = (x: tf.Tensor) => x.dataSync();
const picture = () =>
  tf.tensor4d(
    Float32Array.from({ length: 32 }, (_, i) => Math.sin(1.7 * i + 0.4)),
    [1, 4, 4, 2],
  );

/** Runs the net by hand, with one function for the first block's attention. */
function byHand(x: tf.Tensor4D, cond: number, firstBlock: (tokens: tf.Tensor4D) => tf.Tensor4D): tf.Tensor4D {
  return tf.tidy(() => {
    const input = tf.mul<tf.Tensor4D>(x, cond);
    const tokens = tf.reshape(input, [1, 1, 16, 2]) as tf.Tensor4D;
    const h = tf.add<tf.Tensor4D>(input, tf.reshape(firstBlock(tokens), x.shape));
    return tf.mul(net.blocks[1]!.forward(h), 0.5);
  });
}

/** D + s (D - D~). */
const away = (plain: tf.Tensor4D, worse: tf.Tensor4D, scale: number) =>
  values(tf.add(plain, tf.mul(tf.sub(plain, worse), scale)));

// The lazy engine compiles a graph for each pass; onnxruntime's fused attention rounds differently.
for (const engine of await testEngines()) {
  describe(`guidance inside a network, on ${engine}`, () => {
    beforeAll(() => switchTo(engine));

    test('perturbed attention: the chosen layer answers v', () => {
      const x = picture();
      const worse = byHand(x, 1, (tokens) => tokens);
      const before = tf.memory().numTensors;
      const found = perturbedAttention(denoiser, { scale: 3, layers: first })(x, at, 1);
      expect(tf.memory().numTensors - before).toBe(1);
      expectClose(values(found), away(denoiser(x, at, 1), worse, 3), 1e-5);
      // The other passes are as before, also after the graphs have been compiled.
      const again = perturbedAttention(denoiser, { scale: 0, layers: first })(x, at, 1);
      expectClose(values(again), values(denoiser(x, at, 1)), 1e-6);
    });

    test('smoothed energy: the mean of the queries, or their blur', () => {
      const x = picture();
      const worse = byHand(x, 1, (tokens) => {
        const q = tf.tile(tf.mean(tokens, 2, true), [1, 1, 16, 1]) as tf.Tensor4D;
        return attention(q, tf.mul(tokens, 2), tokens);
      });
      const found = smoothedEnergy(denoiser, { scale: 2, layers: first })(x, at, 1);
      expectClose(values(found), away(denoiser(x, at, 1), worse, 2), 1e-5);
      // A blur much narrower than a pixel changes nothing: D + s (D - D).
      const none = smoothedEnergy(denoiser, { scale: 2, layers: first, deviation: 0.05 })(x, at, 1);
      expectClose(values(none), values(denoiser(x, at, 1)), 1e-5);
    });

    test('smoothed energy leaves tokens beside the picture alone', () => {
      const x = picture();
      const grid = () => ({ first: 2, height: 3, width: 4 });
      const worse = byHand(x, 1, (tokens) => {
        const middle = tf.slice(tokens, [0, 0, 2, 0], [-1, -1, 12, -1]);
        const flat = tf.tile(tf.mean(middle, 2, true), [1, 1, 12, 1]);
        const q = tf.concat(
          [tf.slice(tokens, [0, 0, 0, 0], [-1, -1, 2, -1]), flat, tf.slice(tokens, [0, 0, 14, 0], [-1, -1, 2, -1])],
          2,
        ) as tf.Tensor4D;
        return attention(q, tf.mul(tokens, 2), tokens);
      });
      const found = smoothedEnergy(denoiser, { scale: 2, layers: first, grid })(x, at, 1);
      expectClose(values(found), away(denoiser(x, at, 1), worse, 2), 1e-5);
    });

    test('skip layer: the chosen block passes its input on', () => {
      const x = picture();
      const worse = tf.tidy(() => tf.mul<tf.Tensor4D>(net.blocks[1]!.forward(x), 0.5));
      const found = skipLayer(denoiser, { scale: 2.5, layers: first })(x, at, 1);
      expectClose(values(found), away(denoiser(x, at, 1), worse, 2.5), 1e-5);
    });

    test('self-attention guidance: blurs where the layer looks, and goes away from it in eps', () => {
      const x = picture();
      const found = selfAttention(denoiser, { scale: 0.75, layer: first, threshold: 1 })(x, at, 1);
      // By hand, in eps as in the paper, with plain loops for the map and the 9-tap blur.
      const plain = [...values(denoiser(x, at, 1))];
      const input = [...values(x)];
      const token = (i: number) => [input[2 * i]!, input[2 * i + 1]!];
      const received = new Float64Array(16);
      for (let i = 0; i < 16; i++) {
        const scores = Array.from({ length: 16 }, (_, j) =>
          Math.exp((2 * (token(i)[0]! * token(j)[0]! + token(i)[1]! * token(j)[1]!)) / Math.SQRT2),
        );
        const total = scores.reduce((a, b) => a + b);
        scores.forEach((score, j) => {
          received[j]! += score / total;
        });
      }
      const taps = Array.from({ length: 9 }, (_, k) => Math.exp(-0.5 * (k - 4) ** 2));
      const sum = taps.reduce((a, b) => a + b);
      const mirror = (i: number) => [0, 1, 2, 3, 2, 1][((i % 6) + 6) % 6]!;
      const blurred = plain.map((_, index) => {
        const [r, c, channel] = [Math.floor(index / 8), Math.floor(index / 2) % 4, index % 2];
        let value = 0;
        for (let a = -4; a <= 4; a++) {
          for (let b = -4; b <= 4; b++) {
            const source = (mirror(r + a) * 4 + mirror(c + b)) * 2 + channel;
            value += (taps[a + 4]! * taps[b + 4]! * plain[source]!) / sum ** 2;
          }
        }
        return value;
      });
      const degraded = plain.map((v, i) => (received[i >> 1]! > 1 ? blurred[i]! : v));
      expect(degraded).not.toEqual(plain);
      const { alpha, sigma } = at;
      const eps = plain.map((v, i) => (input[i]! - alpha * v) / sigma);
      const worse = degraded.map((v, i) => alpha * v + sigma * eps[i]!);
      const said = values(denoiser(tf.tensor4d(worse, [1, 4, 4, 2]), at, 1));
      const expected = eps.map((e, i) => {
        const guided = e + 0.75 * (e - (worse[i]! - alpha * said[i]!) / sigma);
        return (input[i]! - sigma * guided) / alpha;
      });
      expectClose(values(found), expected, 2e-5);
    });

    test('self-attention guidance can watch the unconditional pass, and leaks nothing', () => {
      const x = picture();
      const before = tf.memory().numTensors;
      const guidance = selfAttention(denoiser, { scale: 0.5, layer: first, condition: 0.2 });
      const found = guidance(x, at, 1);
      expect(tf.memory().numTensors - before).toBe(1);
      const own = selfAttention(denoiser, { scale: 0.5, layer: first })(x, at, 0.2);
      // The same change, on another estimate.
      const change = tf.sub(own, denoiser(x, at, 0.2));
      expectClose(values(found), values(tf.add(denoiser(x, at, 1), change)), 1e-5);
    });

    test('with classifier-free guidance: u + s (c - u) + p (c - c~), the plain pass run once', () => {
      const x = picture();
      let runs = 0;
      const counted: Denoiser<number> = (...given) => {
        runs++;
        return denoiser(...given);
      };
      const both = together(counted, [
        (d) => classifierFree(d, { scale: 4, unconditional: 0.3 }),
        (d) => perturbedAttention(d, { scale: 3, layers: first }),
      ]);
      const found = values(both(x, at, 1));
      expect(runs).toBe(3);
      const [c, u] = [values(denoiser(x, at, 1)), values(denoiser(x, at, 0.3))];
      const worse = values(byHand(x, 1, (tokens) => tokens));
      expectClose(
        found,
        Array.from(c, (v, i) => u[i]! + 4 * (v - u[i]!) + 3 * (v - worse[i]!)),
        2e-5,
      );
    });
  });
}

describe('what cannot work is said', () => {
  beforeAll(() => switchTo('cpu'));

  test('unknown paths, all at once', () => {
    expect(() => layersAt(net, ['blocks.0', 'middle', /^layer/])).toThrow(/middle[\s\S]*\/\^layer\//);
    expect([...layersAt(net, [/^blocks\.\d$/]).keys()]).toEqual(['blocks.0', 'blocks.1']);
  });

  test('a layer that never asks', () => {
    const root = new Map<string, object>([['', net]]);
    for (const guide of [perturbedAttention, smoothedEnergy, skipLayer]) {
      const x = picture();
      const before = tf.memory().numTensors;
      expect(() => guide(denoiser, { scale: 1, layers: root })(x, at, 1)).toThrow(/did nothing that can be changed/);
      expect(tf.memory().numTensors).toBe(before);
      expect(() => guide(denoiser, { scale: 1, layers: new Map() })).toThrow(/at least one layer/);
    }
  });

  test('cross-attention has no identity map, and queries that are no grid cannot be blurred', () => {
    const layer = {};
    const cross: Denoiser<null> = (x) =>
      tf.tidy(() => {
        const tokens = tf.reshape(x, [1, 1, 16, 2]) as tf.Tensor4D;
        const five = tf.slice(tokens, [0, 0, 0, 0], [-1, -1, 5, -1]);
        tf.reshape(attention(five, tokens, tokens, { by: layer }), [10]);
        return tf.clone(x);
      });
    const layers = new Map([['cross', layer]]);
    expect(() => perturbedAttention(cross, { scale: 1, layers })(picture(), at, null)).toThrow(/self-attention/);
    expect(() => smoothedEnergy(cross, { scale: 1, layers })(picture(), at, null)).toThrow(/give \{ grid \}/);
  });
});

test('a UNet of @mezzotint/unet lets its attention blocks be changed', async () => {
  await switchTo('cpu');
  const unet = new ADMUNet({
    inChannels: 3,
    outChannels: 3,
    attentionOrder: 'new',
    timeConditioning: 'scale-shift',
    resampling: 'pool',
    dropout: 0,
    imageSize: 8,
    modelChannels: 8,
    channelMult: [1, 2],
    resBlocks: 1,
    attentionResolutions: [2],
    heads: { count: 2 },
    headsUp: { count: 2 },
    groups: 4,
    classes: null,
    nullLabel: false,
  }).init(1);
  // Layers that start at 0 would hide what is changed before them.
  const state = await unet.save();
  for (const { data } of Object.values(state)) {
    for (let i = 0; i < data.length; i++) data[i]! += 0.1 * Math.sin(3 * i);
  }
  await unet.load(state);
  const x = tf.mul<tf.Tensor4D>(tf.ones([1, 8, 8, 3]), tf.reshape(tf.linspace(-1, 1, 8), [1, 1, 8, 1]));
  const model: Denoiser<null> = (noisy) => tf.tidy(() => unet.forward(noisy, tf.tensor1d([5])));
  const plain = values(model(x, at, null));
  const layers = layersAt(unet, ['middle_block.1']);
  const changed = [perturbedAttention, smoothedEnergy, skipLayer].map((guide) =>
    values(guide(model, { scale: 1, layers })(x, at, null)),
  );
  for (const [k, answer] of changed.entries()) {
    const farthest = Math.max(...answer.map((v, i) => Math.abs(v - plain[i]!)));
    expect(farthest, `guidance ${k}`).toBeGreaterThan(1e-4);
  }
  const guidance = selfAttention(model, { scale: 1, layer: layers, threshold: 0 });
  expect(Math.abs(values(guidance(x, at, null))[0]! - plain[0]!)).toBeGreaterThan(1e-4);
  unet.dispose();
});
