import { expect, test } from 'vitest';
import { imageNet512, systemCost } from '../src/index.js';

test.each(imageNet512.filter(({ presets }) => presets !== undefined))('$name costs what the table prints', (system) => {
  const { parameters, gmacs, edm2Gflops } = systemCost(system)!;
  // The table prints whole millions and Gflops: half a unit, which is 1 % of EDM2-XS.
  expect(Math.abs(parameters - system.parameters!)).toBeLessThan(0.005 * system.parameters!);
  const counted = system.name.startsWith('EDM2') ? edm2Gflops : gmacs;
  if (system.name === 'RIN')
    expect(gmacs).toBeCloseTo(170.7, 1); // the released code; its row has a note
  else if (system.note?.includes('within 10 %')) expect(Math.abs(counted - system.gflops!)).toBeLessThan(55.5);
  else expect(Math.abs(counted - system.gflops!)).toBeLessThan(Math.max(0.65, 0.005 * system.gflops!));
});

test('every row has a source and a FID; those without a preset of ours have no cost', () => {
  for (const system of imageNet512) {
    expect(system.source).toMatch(/table 2/);
    expect(system.fid ?? system.guidedFid).toBeGreaterThan(1);
    expect(systemCost(system) === null).toBe(system.presets === undefined);
  }
  expect(imageNet512.find(({ name }) => name === 'StyleGAN-XL')!.note).toMatch(/no diffusion model/);
});
