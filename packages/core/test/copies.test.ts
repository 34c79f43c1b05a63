import * as here from '@mezzotint/core';
import { expect, test, vi } from 'vitest';

/** A second copy of the package in the same program, as npm makes them when versions differ. */
async function anotherCopy(): Promise<typeof here> {
  vi.resetModules();
  return import('@mezzotint/core');
}

test('errors of another copy are recognised, each as what it is', async () => {
  const there = await anotherCopy();
  const mismatch = new there.WeightsMismatchError('Net', ['a'], [], []);
  const argument = new there.InvalidArgumentError('Net', 'width must be 3');
  const file = new there.InvalidFileError('a.bin', 'is empty');
  expect(mismatch instanceof here.MezzotintError).toBe(false);
  for (const error of [mismatch, argument, file]) expect(here.MezzotintError.isInstance(error)).toBe(true);
  expect([mismatch, argument, file].map((e) => here.WeightsMismatchError.isInstance(e))).toEqual([true, false, false]);
  expect([mismatch, argument, file].map((e) => here.InvalidArgumentError.isInstance(e))).toEqual([false, true, false]);
  expect([mismatch, argument, file].map((e) => here.InvalidFileError.isInstance(e))).toEqual([false, false, true]);
  for (const no of [new Error('x'), null, undefined, 'text', { code: 'MEZZOTINT_INVALID_FILE' }]) {
    expect(here.MezzotintError.isInstance(no)).toBe(false);
    expect(here.InvalidFileError.isInstance(no)).toBe(false);
  }
});

test('errors of @mezzotint/random, which stands below, are recognised too', () => {
  const error = (() => {
    try {
      new here.TorchGenerator(1.5);
    } catch (thrown) {
      return thrown;
    }
  })();
  expect(here.InvalidArgumentError.isInstance(error)).toBe(true);
  expect((error as here.InvalidArgumentError).problems).toHaveLength(1);
});

test('modules and parameters of another copy are part of the tree', async () => {
  const there = await anotherCopy();
  class Layer extends there.Module {
    readonly weight = new there.Param([2, 3], { init: there.zeros });
    forward(): void {}
  }
  class Model extends here.Module {
    readonly layer = new Layer();
    readonly bias = new here.Param([3], { init: here.zeros });
    forward(): void {
      this.layer.forward();
    }
  }
  expect([...new Model().params().keys()]).toEqual(['layer.weight', 'bias']);
  expect([...new Model().modules().keys()]).toEqual(['', 'layer']);
  expect(here.describe(new Model(), []).parameters).toBe(9);
});

test('messages: one problem on the line, several below it; facts for programs', () => {
  const one = new here.InvalidArgumentError('UNet', 'width must be 3');
  expect(one.message).toBe('UNet: width must be 3');
  const two = new here.InvalidArgumentError('UNet', ['width must be 3', 'depth must be 4']);
  expect(two.message).toBe('UNet:\n  width must be 3\n  depth must be 4');
  expect(two.facts).toEqual({ who: 'UNet', problems: ['width must be 3', 'depth must be 4'] });
  expect(two.name).toBe('InvalidArgumentError');
  const cause = new Error('below');
  expect(new here.InvalidFileError('a.bin', 'is empty', { cause })).toMatchObject({
    message: 'a.bin: is empty',
    code: 'MEZZOTINT_INVALID_FILE',
    cause,
  });
});
