import { expect, test } from 'vitest';
import { sampleCommand } from '../src/command.js';

const parsed = (...argv: string[]) => sampleCommand().exitOverride().parse(argv, { from: 'user' }).opts();

test('--guide names a guidance, its options read as it declares them; again for another', () => {
  const { guide } = parsed(
    '--guide',
    'apg:norm=3:on=x0',
    '--guide',
    'fdg:scales=10,5',
    '--guide',
    'slg:layers=blocks.7,blocks.8',
  );
  expect(guide).toEqual([
    { name: 'apg', norm: 3, on: 'x0' },
    { name: 'fdg', scales: [10, 5] },
    { name: 'slg', layers: 'blocks.7,blocks.8' },
  ]);
  expect(() => parsed('--guide', 'agp')).toThrow(/--guide: expected one of cfg, .*apg.*, got 'agp'/);
  expect(() => parsed('--guide', 'apg:norm')).toThrow(/expected name:option=value, got 'apg:norm'/);
});

test('files with something behind a colon: LoRA files and textual inversions', () => {
  expect(parsed('--lora', 'a.safetensors', '--lora', 'b.safetensors:0.5').lora).toEqual([
    { path: 'a.safetensors' },
    { path: 'b.safetensors', scale: 0.5 },
  ]);
  expect(parsed('--textual-inversion', 'cat.pt:<cat>').textualInversion).toEqual([{ path: 'cat.pt', token: '<cat>' }]);
});

test('--prompt again makes a picture of each; a text beside it may be one for each too', () => {
  expect(parsed('--prompt', 'a', '--prompt', 'b, c', '--negative', 'x').prompt).toEqual(['a', 'b, c']);
  expect(parsed('--prompt', 'a', '--negative', 'x', '--negative', 'y')).toEqual({ prompt: 'a', negative: ['x', 'y'] });
  expect(parsed('--upsampler', 'a', '--upsampler', 'b').upsampler).toEqual(['a', 'b']);
  expect(parsed('--labels', '1', '--labels', '2').labels).toBe('2'); // has a list in one text
});

test('--seed and --seeds have 64 bits', () => {
  expect(parsed('--seed', '18446744073709551615').seed).toBe('18446744073709551615');
  expect(parsed('--seed', '7').seed).toBe(7);
  expect(parsed('--seeds', '7, 18446744073709551615').seeds).toEqual(['7', '18446744073709551615']);
  for (const bad of ['18446744073709551616', '-1', '1.5', 'x', '']) {
    expect(() => parsed('--seed', bad)).toThrow(`--seed: expected a whole number from 0 to 2^64 - 1, got '${bad}'`);
  }
});

test('help lists every guidance with its options and their defaults', () => {
  let help = '';
  const command = sampleCommand().configureOutput({
    writeOut: (text) => {
      help += text;
    },
  });
  command.outputHelp();
  expect(help).toMatch(/--guide <name\[:option=value\]>/);
  expect(help).toMatch(
    /apg {2,}high scales[^\n]*\n +momentum=-0.5 norm=15 parallel=0 on=prediction from=unconditional/,
  );
  expect(help).toMatch(/slg {2,}[^\n]*\n +scale=2.8 layers=…/);
});
