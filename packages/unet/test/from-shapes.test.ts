import { describe, expect, test } from 'vitest';
import { sd15, sd21, sdxlBase, sdxlRefiner, UNet2DCondition, unet2dConditionFromShapes } from '../src/index.js';
import { readJson } from './support/golden.js';

type Tensors = Parameters<typeof unet2dConditionFromShapes>[0];
const tensorsOf = (shapes: Iterable<readonly [string, readonly number[]]>): Tensors =>
  new Map([...shapes].map(([name, shape]) => [name, { shape, dtype: 'F16' }]));
const paramsOf = (model: UNet2DCondition) =>
  [...model.params()].map(([name, param]) => [name, [...param.fileShape]] as [string, number[]]);
const manifest = (name: string) =>
  Object.entries(readJson<{ tensors: Record<string, number[]> }>(`${name}.manifest.json`).tensors);

describe('the configuration read off the shapes', () => {
  test.each([
    ['sd15', manifest('sd15'), sd15],
    ['sd21', paramsOf(sd21.build()), sd21],
    ['sdxl-base', manifest('sdxl-base'), sdxlBase],
    ['sdxl-refiner', manifest('sdxl-refiner'), sdxlRefiner],
  ])('%s: builds exactly the published tensors, with the published heads', (_, tensors, preset) => {
    const config = unet2dConditionFromShapes(tensorsOf(tensors));
    expect(paramsOf(new UNet2DCondition(config))).toEqual(tensors);
    const { depth, ...published } = preset.build().config;
    // The depth of a level without transformers says nothing.
    const { upAttention, mid } = published;
    const said = (list: typeof depth) =>
      list.filter((_, level) => upAttention[level] || (mid && level === list.length - 1));
    expect(said(config.depth)).toEqual(said(depth));
    expect({ ...config, depth: null }).toEqual({ ...published, depth: null });
  });

  test('inpainting sees nine channels', () => {
    const tensors = manifest('sd15').map(([name, shape]) => [name, name === 'conv_in.weight' ? [320, 9, 3, 3] : shape]);
    expect(unet2dConditionFromShapes(tensorsOf(tensors as [string, number[]][])).inChannels).toBe(9);
  });

  test('a state dict of something else is refused by what is missing', () => {
    expect(() => unet2dConditionFromShapes(tensorsOf([['conv_in.weight', [8, 4, 3, 3]]]))).toThrow(
      /conv_out.weight: expected a tensor with an axis 0, got none/,
    );
  });
});
