import {
  AutoencoderKL,
  autoencoderKLFromDiffusers,
  autoencoderTinyFromDiffusers,
  vqModelFromDiffusers,
} from '@mezzotint/autoencoders';
import { ditFromDiffusers } from '@mezzotint/dit';
import { fluxFromDiffusers, mmditFromDiffusers } from '@mezzotint/mmdit';
import { samplerFromDiffusers } from '@mezzotint/schedulers';
import {
  clipTextFromTransformers,
  clipTokenizer,
  t5FromTransformers,
  t5Tokenizer,
  tokenizerOptionsFromTransformers,
} from '@mezzotint/text-encoders';
import { UNet2DCondition, unet2dConditionFromDiffusers, unet2dFromDiffusers } from '@mezzotint/unet';
import { below, binary, file, json, type Reader } from '../reader.js';

const tokenizers = 'packages/text-encoders/test/fixtures/tokenizers';
const apps = 'apps/sample/test/fixtures';
const merges = Buffer.from(file(`${tokenizers}/merges.txt`)).toString('utf8');
const vocab: unknown = JSON.parse(Buffer.from(file(`${tokenizers}/vocab.json`)).toString('utf8'));

/** Configurations and vocabularies of other tools, as values. */
export const configReaders: readonly Reader[] = [
  json('clip vocab.json', [file(`${tokenizers}/vocab.json`)], (value) =>
    clipTokenizer({ vocab: value, merges }).encode('a red cat'),
  ),
  binary('clip merges.txt', [file(`${tokenizers}/merges.txt`)], (bytes) =>
    clipTokenizer({ vocab, merges: Buffer.from(bytes).toString('utf8') }).encode('a red cat'),
  ),
  json('clip tokenizer.json', [file(`${tokenizers}/clip-tokenizer.json`)], (value) =>
    clipTokenizer({ tokenizerJson: value }).encode('a red cat'),
  ),
  json('t5 tokenizer.json', [file(`${tokenizers}/t5-tokenizer.json`)], (value) =>
    t5Tokenizer({ tokenizerJson: value }).encode('a red cat'),
  ),
  binary('spiece.model', [file(`${tokenizers}/spiece.model`)], (bytes) =>
    t5Tokenizer({ spiece: bytes }).encode('a red cat'),
  ),
  json('tokenizer_config.json', below(apps, /tokenizer_config\.json$/), (value) =>
    tokenizerOptionsFromTransformers(value),
  ),
  json('unet config.json', below(apps, /unet\/config\.json$/), (value) =>
    new UNet2DCondition(unet2dConditionFromDiffusers(value)).params(),
  ),
  json('unet2d config.json', below('packages/unet/test/fixtures/unet2d', /config\.json$/), (value) =>
    unet2dFromDiffusers(value),
  ),
  json('vae config.json', below(apps, /vae\/config\.json$/), (value) =>
    new AutoencoderKL(autoencoderKLFromDiffusers(value)).params(),
  ),
  json(
    'other vae config.json',
    below('packages/autoencoders/test/fixtures', /(?:tiny|vq-model)\/config\.json$/),
    (value) => {
      const { _class_name: name } = (value ?? {}) as { _class_name?: unknown };
      return name === 'VQModel' ? vqModelFromDiffusers(value) : autoencoderTinyFromDiffusers(value);
    },
  ),
  json('dit config.json', below('packages/dit/test/fixtures', /config\.json$/), (value) => ditFromDiffusers(value)),
  json('flux config.json', below('packages/mmdit/test/fixtures', /flux.*config\.json$/), (value) =>
    fluxFromDiffusers(value),
  ),
  json('sd3 config.json', below('packages/mmdit/test/fixtures', /sd3.*config\.json$/), (value) =>
    mmditFromDiffusers(value),
  ),
  json('text encoder config.json', below(apps, /text_encoder\/config\.json$/), (value) =>
    clipTextFromTransformers(value),
  ),
  json('t5 config.json', below('packages/text-encoders/test/fixtures/t5-encoder', /config\.json$/), (value) =>
    t5FromTransformers(value),
  ),
  json('scheduler_config.json', below(apps, /scheduler_config\.json$/), (value) =>
    samplerFromDiffusers(value as never),
  ),
];
