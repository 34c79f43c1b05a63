import { describe, expect, test } from 'vitest';
import { architectureOfClass } from '../src/index.js';
import golden from './fixtures/reference-defaults.json' with { type: 'json' };

const classes = golden.classes as unknown as Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** Classes whose weights we take, and the configuration of transformers that they have. */
const configOf: Readonly<Record<string, string>> = {
  CLIPTextModel: 'CLIPTextConfig',
  CLIPTextModelWithProjection: 'CLIPTextConfig',
  CLIPVisionModel: 'CLIPVisionConfig',
  CLIPVisionModelWithProjection: 'CLIPVisionConfig',
  T5EncoderModel: 'T5Config',
};

function read(className: string, json: object): unknown {
  const architecture = architectureOfClass(className)!;
  const reference = architecture.references!.find((known) => known.className === className)!;
  return reference.config(json);
}

// A key that config.json does not carry is the class's default, whatever wrote the file: as if the file had it.
describe('a configuration with nothing in it is one with every default of the signature', () => {
  const names = Object.keys(classes).flatMap((name) => {
    const models = Object.keys(configOf).filter((model) => configOf[model] === name);
    return models.length > 0 ? models.map((model) => [model, name]) : [[name, name]];
  }) as [string, string][];
  test.each(names)('%s', (model, name) => {
    expect(read(model, {})).toEqual(read(model, classes[name]!));
  });

  test('another value than the default is seen', () => {
    const other = { ...classes.UNet2DModel, norm_eps: 1e-3 };
    expect(read('UNet2DModel', {})).not.toEqual(read('UNet2DModel', other));
  });
});

test('another value than the default is seen', () => {
  const other = { ...classes.UNet2DModel, norm_eps: 1e-3 };
  expect(read('UNet2DModel', {})).not.toEqual(read('UNet2DModel', other));
});
