import { readFileSync } from 'node:fs';
import { type HostTensor, sizeOf, TorchGenerator, type WeightSource } from '@mezzotint/core';
import { clipTextPrefixKeyMap, type LoraSource, mergeLora, translate } from '@mezzotint/weights';
import { describe, expect, test } from 'vitest';

type Shapes = Readonly<Record<string, readonly number[]>>;
type Part = 'unet' | 'text_encoder' | 'text_encoder_2';

const golden = JSON.parse(readFileSync(new URL('fixtures/golden/lora.json', import.meta.url), 'utf8')) as {
  models: Record<string, Partial<Record<Part, { seed: number; shapes: Shapes }>>>;
  files: Record<string, { seed: number; shapes: Shapes; alphas: Record<string, number>; notes?: object }>;
  merged: Record<
    string,
    {
      model: string;
      loras: [string, number][];
      parts: Partial<Record<Part, Record<string, [sum: number, product: number]>>>;
    }
  >;
};

/** Tensors as torch's generator draws them, one after another. */
function drawn(seed: number, shapes: Shapes): Map<string, HostTensor> {
  const generator = new TorchGenerator(seed);
  return new Map(
    Object.entries(shapes).map(([key, shape]) => [
      key,
      { shape, data: Float32Array.from(generator.randn(sizeOf(shape))) },
    ]),
  );
}

function sourceOf(name: string, tensors: ReadonlyMap<string, HostTensor>): WeightSource {
  return {
    name,
    tensors: new Map([...tensors].map(([key, { shape }]) => [key, { shape, dtype: 'F32' }])),
    read: (key) => tensors.get(key)!,
  };
}

function fileOf(name: string): LoraSource {
  const { seed, shapes, alphas, notes } = golden.files[name]!;
  const tensors = drawn(seed, shapes);
  for (const [key, alpha] of Object.entries(alphas)) tensors.set(key, { shape: [], data: Float32Array.of(alpha) });
  const metadata = new Map(notes === undefined ? [] : [['lora_adapter_metadata', JSON.stringify(notes)]]);
  return { ...sourceOf(name, tensors), metadata };
}

const TARGETS = { unet: 'denoiser', text_encoder: 'text_encoder', text_encoder_2: 'text_encoder_2' } as const;

/** The models that the script merged into; text encoders under the names that published files have. */
function modelsOf(kind: string): Partial<Record<(typeof TARGETS)[Part], WeightSource>> {
  return Object.fromEntries(
    Object.entries(golden.models[kind]!).map(([part, { seed, shapes }]) => {
      const own = sourceOf(part, drawn(seed, shapes));
      const isNew = own.tensors.has('final_layer_norm.weight');
      return [TARGETS[part as Part], isNew ? translate(own, clipTextPrefixKeyMap(), 'right') : own];
    }),
  );
}

/** The two numbers that the script keeps of each weight. */
function probes({ data }: HostTensor): [number, number] {
  let sum = 0;
  let product = 0;
  data.forEach((value, k) => {
    sum += value;
    product += value * Math.cos(0.7 * k);
  });
  return [sum, product];
}

describe("every weight that diffusers' fuse_lora changes", () => {
  test.each(Object.entries(golden.merged))('%s', async (_, { model, loras, parts }) => {
    let models = modelsOf(model);
    for (const [name, scale] of loras) models = await mergeLora(models, fileOf(name), { scale });
    const before = modelsOf(model);
    for (const part of Object.keys(golden.models[model]!) as Part[]) {
      const [own, plain] = [models[TARGETS[part]]!, before[TARGETS[part]]!];
      const expected = new Map(Object.entries(parts[part] ?? {}));
      for (const [name, { shape }] of own.tensors) {
        const want = expected.get(name) ?? expected.get(name.replace(/^text_model\./, ''));
        const got = await own.read(name);
        // What diffusers leaves as it is, we do.
        if (want === undefined) expect(got.data, name).toEqual((await plain.read(name)).data);
        else {
          // Numbers of about 1, rounded to float32 on both sides in other orders: 1e-6 a number.
          const tolerance = 1e-6 * sizeOf(shape);
          probes(got).forEach((probe, i) => {
            expect(Math.abs(probe - want[i]!), `${part}: ${name}`).toBeLessThan(tolerance);
          });
        }
      }
    }
  });
});
