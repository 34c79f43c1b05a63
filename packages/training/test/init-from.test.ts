import '@tensorflow/tfjs';
import { asWeightSource, type HostTensor, Module, normal, Param, WeightsMismatchError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import { initFrom } from '../src/index.js';

beforeAll(() => tf.setBackend('cpu'));

class Net extends Module {
  readonly pos_embed: Param;
  readonly fixed_pos_embed: Param;
  readonly y_embedder: { readonly weight: Param };
  readonly head: Param;

  constructor(side: number, classes: number, outputs: number) {
    super();
    this.pos_embed = new Param([1, 1 + side * side, 2], { init: normal(1) });
    this.fixed_pos_embed = new Param([1, side * side, 2], { init: normal(1), trainable: false });
    this.y_embedder = { weight: new Param([classes, 3], { init: normal(1) }) };
    this.head = new Param([outputs, 2], { init: normal(1) });
  }
}

test('what fits is taken, positions are resampled, rows of shared classes kept, and the rest is named', async () => {
  const old = new Net(4, 3, 5).init(1);
  const source = await old.save();
  // A plane, which cubic interpolation keeps away from the borders.
  source.pos_embed = {
    shape: [1, 17, 2],
    data: Float32Array.from({ length: 34 }, (_, i) => {
      const token = (i >> 1) - 1;
      return token < 0 ? 7 : i % 2 === 0 ? Math.floor(token / 4) : token % 4;
    }),
  };
  const net = new Net(8, 4, 6).init(2);
  const before = await net.save();
  const { tensors: _, ...rest } = asWeightSource({ ...source, extra: { shape: [1], data: Float32Array.of(1) } });
  const report = await initFrom(net, { tensors: _, ...rest }, { rows: [2, null, 0, 1] });
  expect(report).toEqual({
    loaded: [],
    adapted: [
      { name: 'pos_embed', how: 'positions resampled from 4 x 4 to 8 x 8', whole: true },
      { name: 'y_embedder.weight', how: '3 of 4 rows of classes that both have', whole: false },
    ],
    fresh: [
      { name: 'fixed_pos_embed', why: "is computed for the model's own size ([1, 16, 2], the model has [1, 64, 2])" },
      { name: 'head', why: 'has another shape: [5, 2], the model has [6, 2]' },
    ],
    unused: ['extra'],
  });
  const after = await net.save();
  const position = (row: number, column: number) =>
    Array.from(after.pos_embed!.data.slice(2 * (1 + row * 8 + column), 2 * (2 + row * 8 + column)));
  expect(Array.from(after.pos_embed!.data.slice(0, 2))).toEqual([7, 7]);
  // Token (r, c) of 8 sits at (r + 1/2) / 2 - 1/2 of 4.
  expect(position(3, 4)[0]).toBeCloseTo(1.25, 5);
  expect(position(3, 4)[1]).toBeCloseTo(1.75, 5);
  const row = ({ data }: HostTensor, i: number) => Array.from(data.slice(3 * i, 3 * i + 3));
  expect(row(after['y_embedder.weight']!, 0)).toEqual(row(source['y_embedder.weight']!, 2));
  expect(row(after['y_embedder.weight']!, 1)).toEqual(row(before['y_embedder.weight']!, 1));
  expect(after.head).toEqual(before.head);
});

/** A label table of rows, a linear layer of one-hot labels without a null label, and what has nothing to do with labels. */
class Labels extends Module {
  readonly label_emb = { weight: new Param([3, 5], { init: normal(1) }) };
  readonly map_label = { weight: new Param([5, 2], { init: normal(1) }) };
  readonly head = new Param([3, 5], { init: normal(1) });
}

test('a table of the same shape takes the rows of the same classes, not those of the same place', async () => {
  const old = new Labels().init(1); // bird, cat
  const net = new Labels().init(2); // cat, dog
  const [source, before] = [await old.save(), await net.save()];
  const report = await initFrom(net, asWeightSource(source), { rows: [1, null, 2] });
  expect(report.loaded).toEqual(['head']);
  expect(report.adapted).toEqual([
    { name: 'label_emb.weight', how: '2 of 3 rows of classes that both have', whole: false },
    { name: 'map_label.weight', how: '1 of 2 columns of classes that both have', whole: false },
  ]);
  const after = await net.save();
  const at = ({ shape, data }: HostTensor, row: number, column: number) => data[row * shape[1]! + column];
  for (let d = 0; d < 5; d++) {
    const [table, map] = [after['label_emb.weight']!, after['map_label.weight']!];
    expect(at(table, 0, d)).toBe(at(source['label_emb.weight']!, 1, d));
    expect(at(table, 1, d)).toBe(at(before['label_emb.weight']!, 1, d));
    expect(at(table, 2, d)).toBe(at(source['label_emb.weight']!, 2, d));
    expect(at(map, d, 0)).toBe(at(source['map_label.weight']!, d, 1));
    expect(at(map, d, 1)).toBe(at(before['map_label.weight']!, d, 1));
  }
  const same = await initFrom(new Labels().init(3), asWeightSource(source), { rows: [0, 1, 2] });
  expect(same.loaded).toHaveLength(3);
});

test('the same model is loaded whole, and weights of which nothing fits are refused', async () => {
  const net = new Net(2, 3, 4).init(1);
  const report = await initFrom(new Net(2, 3, 4).init(5), asWeightSource(await net.save()));
  expect(report.loaded.length).toBe(4);
  const other = asWeightSource({ other: { shape: [2], data: Float32Array.of(1, 2) } });
  await expect(initFrom(net, other)).rejects.toThrow(WeightsMismatchError);
});
