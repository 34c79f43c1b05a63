#!/usr/bin/env node
import { runCommand } from '@mezzotint/app';
import { trainCommand } from './command.js';
import { type EmojiDataFlags, emojiDataCommand, runEmojiData } from './emoji-data.js';
import { type EncodeFlags, encodeCommand, runEncode } from './encode.js';
import { type PosthocEmaFlags, posthocEmaCommand, runPosthocEma } from './posthoc-ema.js';
import { runTokenizer, type TokenizerFlags, tokenizerCommand } from './tokenizer.js';
import { trainRun } from './train-run.js';

const [first, ...rest] = process.argv.slice(2);
if (first === 'posthoc-ema') await runCommand<PosthocEmaFlags>(posthocEmaCommand(), runPosthocEma, rest);
else if (first === 'encode') await runCommand<EncodeFlags>(encodeCommand(), runEncode, rest);
else if (first === 'tokenizer') await runCommand<TokenizerFlags>(tokenizerCommand(), runTokenizer, rest);
else if (first === 'emoji-data') await runCommand<EmojiDataFlags>(emojiDataCommand(), runEmojiData, rest);
else await runCommand(trainCommand(), trainRun);
