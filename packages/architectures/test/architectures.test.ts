import {
  type Architecture,
  type DataShape,
  type DenoiserArchitecture,
  describe as describeCost,
  forwardInputs,
  type InputArgument,
  InvalidArgumentError,
  Module,
  type Preset,
  readNetworkConfig,
} from '@mezzotint/core';
import { describe, expect, test } from 'vitest';
import { architectureNamed, architectureOfClass, architectures, listPresets, presetNamed } from '../src/index.js';

const denoisers = architectures.filter((a): a is DenoiserArchitecture => a.kind === 'denoiser');
/** Smallest preset of each, so that no test builds a network of billions. */
const smallest: (readonly [Architecture, Preset])[] = architectures.flatMap((a) => {
  const [first] = a.presets as readonly Preset[];
  return first === undefined ? [] : [[a, first] as const];
});

describe('the list', () => {
  test('has every name once, and builds what the presets build', () => {
    const names = architectures.flatMap((a) => [a.name, ...(a.formerNames ?? [])]);
    expect(new Set(names).size).toBe(names.length);
    const presets = listPresets().map(({ preset }) => preset.name);
    expect(new Set(presets).size).toBe(presets.length);
    for (const [architecture, preset] of smallest) {
      expect(architecture.build(preset.config).constructor).toBe(preset.build().constructor);
    }
  });

  test.each(smallest)(
    '%# leaves Module.load as it is, so that load options reach every part',
    (architecture, preset) => {
      for (const [path, module] of preset.build().modules()) {
        expect(module.load, `${architecture.name} ${path}`).toBe(Module.prototype.load);
      }
    },
  );

  test('finds by name, former name and foreign class, and says what there is', () => {
    expect(architectureNamed('DiT').package).toBe('@mezzotint/dit');
    expect(architectureNamed('before', [{ ...architectureNamed('DiT'), formerNames: ['before'] }]).name).toBe('DiT');
    expect(architectureOfClass('DiTTransformer2DModel')?.name).toBe('DiT');
    expect(architectureOfClass('NoSuchModel')).toBeUndefined();
    expect(() => architectureNamed('Dit')).toThrow(/expected one of .*DiT.*, got 'Dit'/);
    expect(presetNamed('dit-s-4').architecture.name).toBe('DiT');
    expect(() => presetNamed('dit')).toThrow(/expected one of .*dit-s-4.*, got 'dit'/);
  });
});

describe('a configuration out of a file', () => {
  test.each(smallest)('%# comes back from JSON as it was', (architecture, preset) => {
    const json: unknown = JSON.parse(JSON.stringify(preset.config));
    expect(readNetworkConfig<Module>(architecture, json)).toEqual(preset.config);
  });

  test('objects whose toString is data, and a billion classes, are refused by name', () => {
    const dit = architectureNamed('DiT');
    const { config } = dit.presets[0] as Preset;
    const hostile = { ...(config as object), width: JSON.parse('[{"toString": 1}]'), classes: 1e9 };
    expect(() => readNetworkConfig<Module>(dit, hostile)).toThrow(/width\.0\.toString: unknown setting/);
    const many = { ...(config as object), classes: 1e7 };
    expect(() => dit.build(many as never)).toThrow(/classes: expected at most 1048576, got 10000000/);
  });

  test('names unknown and missing settings, all at once', () => {
    const dit = architectureNamed('DiT');
    const { depth: _, heads: __, ...rest } = presetNamed('dit-s-8').preset.config as Record<string, unknown>;
    const read = () => readNetworkConfig<Module>(dit, { ...rest, dept: 12 });
    expect(read).toThrow(InvalidArgumentError);
    expect(read).toThrow(/dept: unknown setting[\s\S]*depth: missing[\s\S]*heads: missing/);
    expect(() => readNetworkConfig<Module>(dit, [1])).toThrow(/expected a configuration as a JSON object/);
  });

  test('of an older version is brought up to date: the UNet’s classes counted the null label', () => {
    const { preset, architecture } = presetNamed('digits');
    const { nullLabel: _, ...older } = preset.config as Record<string, unknown>;
    expect(readNetworkConfig<Module>(architecture, { ...older, classes: 11 })).toEqual(preset.config);
    expect(readNetworkConfig<Module>(architecture, { ...older, classes: null })).toMatchObject({ nullLabel: false });
  });
});

/** False for an argument without tensors. */
const isGiven = (input: InputArgument) => input !== undefined && Object.keys(input).length > 0;

/** Runs `forward` on shapes alone, with what the signature says that it takes. */
function outputOf(architecture: DenoiserArchitecture, config: unknown, side: number) {
  const inputs = forwardInputs(architecture.signature(config), side);
  return describeCost(architecture.build(config), inputs).modules[0]!.output;
}

describe('the signature of a denoiser is what forward takes and gives', () => {
  test.each(denoisers.map((a) => [a.name, a] as const))('%s', (_, architecture) => {
    const preset = architecture.presets[0]!;
    const signature = architecture.signature(preset.config);
    const side = signature.imageSize ?? 64;
    expect(outputOf(architecture, preset.config, side)).toEqual([1, side, side, signature.outChannels]);
    if (signature.imageSize !== null) expect(preset.inputs().filter(isGiven)).toEqual(forwardInputs(signature, side));
    // What is said to be needed is needed.
    for (const name of Object.keys(signature.conditions)) {
      const { [name]: left, ...others } = signature.conditions;
      const inputs = forwardInputs({ ...signature, conditions: others }, side);
      const model = architecture.build(preset.config);
      expect(() => describeCost(model, inputs), `${name} of ${JSON.stringify(left)} left out`).toThrow();
    }
  });
});

describe('sizes for data of one’s own', () => {
  const data: readonly DataShape[] = [
    { imageSize: 28, channels: 1, classes: 10 },
    { imageSize: 32, channels: 4, classes: 1000, learnedVariance: true },
    { imageSize: 50, channels: 3, classes: 2 },
    { imageSize: 64, channels: 3, classes: null },
  ];
  /** Not every architecture can predict a variance or takes labels; one that cannot says so. */
  const refuses = (a: DenoiserArchitecture, shape: DataShape) => {
    try {
      a.sized!('small', shape);
      return false;
    } catch (error) {
      const { message } = error as Error;
      const variance =
        shape.learnedVariance === true && message === `${a.name}: has no channels for a learned variance`;
      const labels = shape.classes !== null && message.startsWith(`${a.name}: has no labels: `);
      const text = shape.contextWidth === undefined && message.includes('reads texts: ');
      if (!variance && !labels && !text) throw error;
      return true;
    }
  };
  const cases = denoisers
    .filter((a) => a.sized !== undefined)
    .flatMap((a) =>
      data.filter((shape) => !refuses(a, shape)).map((shape) => [a.name, JSON.stringify(shape), a, shape] as const),
    );

  test.each(cases)('%s for %s: takes the data, and grows with the size', (_, __, architecture, shape) => {
    const { imageSize, channels, classes, learnedVariance = false } = shape;
    const parameters = (['small', 'medium', 'large'] as const).map((size) => {
      const config = architecture.sized!(size, shape);
      expect(JSON.parse(JSON.stringify(config))).toEqual(config);
      expect(readNetworkConfig(architecture, config)).toEqual(config);
      const signature = architecture.signature(config);
      expect(signature).toMatchObject({ inChannels: channels, outChannels: channels * (learnedVariance ? 2 : 1) });
      expect(signature).toMatchObject({ classes, nullLabel: classes !== null });
      const cost = describeCost(architecture.build(config), forwardInputs(signature, imageSize));
      expect(cost.modules[0]!.output).toEqual([1, imageSize, imageSize, signature.outChannels]);
      return cost.parameters;
    });
    expect(parameters).toEqual([...parameters].sort((a, b) => a - b));
    expect(new Set(parameters).size).toBe(3);
  });

  test.each(['DiT', 'UViT', 'RIN', 'ZigMa', 'MMDiT', 'SimpleDiffusionUViT'])(
    '%s: a side that only patches as large as the picture divide is refused, with sides that do better',
    (name) => {
      const { sized } = denoisers.find((one) => one.name === name)!;
      const shape = { channels: 3, classes: null, ...(name === 'MMDiT' && { contextWidth: 32, pooledWidth: 24 }) };
      const side = name === 'SimpleDiffusionUViT' ? 62 : 31;
      let message = '';
      try {
        sized!('small', { imageSize: side, ...shape });
      } catch (error) {
        ({ message } = error as Error);
      }
      const sides = `take an image size such as ${side - side / 31} or ${side + side / 31}`;
      expect(message).toContain(`${name}: of ${side} pixels a side, patches of ${side} leave 1 x 1: ${sides}`);
      for (const imageSize of [side - side / 31, side + side / 31]) sized!('small', { imageSize, ...shape });
    },
  );

  /** A text that no class comes with, as a small CLIP reads it. */
  const text: DataShape = {
    ...{ imageSize: 16, channels: 4, classes: null, contextWidth: 32, contextTokens: 12, pooledWidth: 24 },
  };

  test.each(['MMDiT', 'UViT', 'ZigMa', 'EfficientUNet', 'UNet2DCondition'])('%s reads texts in every size', (name) => {
    const architecture = denoisers.find((one) => one.name === name)!;
    for (const size of ['small', 'medium', 'large'] as const) {
      const signature = architecture.signature(architecture.sized!(size, text));
      expect(signature).toMatchObject({ inChannels: 4, outChannels: 4, classes: null });
      expect(signature.conditions.context!.shape.at(-1)).toBe(32);
      if (signature.conditions.pooled) expect(signature.conditions.pooled.shape).toEqual([24]);
      const cost = describeCost(
        architecture.build(architecture.sized!(size, text)),
        forwardInputs(signature, text.imageSize),
      );
      expect(cost.modules[0]!.output).toEqual([1, 16, 16, 4]);
    }
  });
});
