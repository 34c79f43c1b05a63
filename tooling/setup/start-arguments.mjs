import { join } from 'node:path';

/**
 * What `npm start` gives to sample: the model and the prompts of models/emoji and a file in out/, each where what was asked does not
 * say it. A configuration file says all of it; a picture that is replayed says its model and its prompts.
 */
export function startArguments(root, asked) {
  const says = (...flags) =>
    asked.some((argument) => flags.some((flag) => argument === flag || argument.startsWith(`${flag}=`)));
  const emoji = join(root, 'models', 'emoji');
  const own = !says('--model', '--config', '--replay');
  const file = join(root, 'out', own ? 'emoji.png' : 'pictures.png');
  return {
    /** Whether the model is that of models/emoji. */
    own,
    argv: [
      ...(own ? ['--model', emoji] : []),
      ...(own && !says('--prompt', '--prompts') ? ['--prompts', join(emoji, 'prompts.txt')] : []),
      // Only the file of the last start is written over without a word.
      ...(says('--out', '--config') ? [] : ['--out', file, '--overwrite']),
      ...asked,
    ],
  };
}
