import { describe as costOf } from '@mezzotint/core';
import { describe, expect, test } from 'vitest';
import { EfficientUNet, efficientUNetFromImagenPytorch, presets } from '../src/index.js';
import { readJson, readTensors } from './support/golden.js';

// As counted on imagen-pytorch's classes with T5-XXL's width; the paper prints about 2 B, 600 M and 400 M for its own networks.
test.each([
  ['imagen-base-64', 1_627_446_052],
  ['imagen-sr-256', 732_462_738],
  ['imagen-sr-1024', 721_670_546],
])('%s has as many parameters as the reference', (name, parameters) => {
  const preset = presets.find((preset) => preset.name === name)!;
  expect(costOf(preset.build(), preset.inputs()).parameters).toBe(parameters);
});

describe('state dict: the names and shapes of imagen-pytorch', () => {
  test.each(['imagen-unet', 'imagen-sr-unet'])('%s', (folder) => {
    const theirs = readTensors(`${folder}/model.safetensors`);
    const model = new EfficientUNet(efficientUNetFromImagenPytorch(readJson(`${folder}/config.json`)));
    const ours = Object.fromEntries([...model.params()].map(([key, param]) => [key, [...param.fileShape]]));
    expect(ours).toEqual(Object.fromEntries(Object.entries(theirs).map(([key, { shape }]) => [key, shape])));
  });
});
