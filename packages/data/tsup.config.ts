import { library } from '@mezzotint/tsup';

export default library({
  index: 'src/index.ts',
  pixels: 'src/pixels-entry.ts',
  emoji: 'src/emoji.ts',
  'decode-worker': 'src/decode-worker.ts',
});
