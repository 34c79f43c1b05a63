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
