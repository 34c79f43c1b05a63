import { library } from '@mezzotint/tsup';

export default library({
  index: 'src/index.ts',
  digits: 'src/digits.ts',
  pixels: 'src/pixels-entry.ts',
  emoji: 'src/emoji-entry.ts',
  svg: 'src/svg.ts',
  'decode-worker': 'src/decode-worker.ts',
});
