import { InvalidFileError } from '@mezzotint/core';
import { type Field, protobufFields } from './protobuf.js';

/** A unigram vocabulary: pieces with the logarithms of their probabilities. Kudo 2018. */
export interface UnigramModel {
  /** Pieces in the order of their ids. */
  readonly pieces: readonly (readonly [piece: string, score: number])[];
  /** Id of what is in no piece. */
  readonly unknown: number;
  /** The compiled rules by which characters are replaced first; undefined when there are none. */
  readonly charsmap: Uint8Array | undefined;
}

/** Field numbers of sentencepiece_model.proto (ModelProto, SentencePiece, TrainerSpec, NormalizerSpec). */
const MODEL = { pieces: 1, trainer: 2, normalizer: 3 };
const PIECE = { piece: 1, score: 2, type: 3 };
const TRAINER = { modelType: 3, byteFallback: 35, unknown: 40 };
const NORMALIZER = { charsmap: 2, addDummyPrefix: 3, removeExtraWhitespaces: 4, escapeWhitespaces: 5 };
const UNIGRAM = 1;
const [NORMAL, USER_DEFINED] = [1, 4];

/**
 * Reads a spiece.model: unigram pieces and the normalisation rules. Nothing of it is executed.
 *
 * @throws InvalidFileError when it is not one, or of another kind than T5's
 */
export function readSentencePieceModel(file: string, bytes: Uint8Array): UnigramModel {
  const pieces: [string, number][] = [];
  let [modelType, unknown, charsmap]: [number, number, Uint8Array | undefined] = [UNIGRAM, 0, undefined];
  const unsupported: string[] = [];
  for (const field of protobufFields(file, bytes)) {
    if (!('bytes' in field)) continue;
    if (field.number === MODEL.pieces) {
      const { piece, type } = readPiece(file, field.bytes);
      if (type === USER_DEFINED) unsupported.push(`a user-defined piece, ${JSON.stringify(piece[0].slice(0, 40))}`);
      pieces.push(piece);
    } else if (field.number === MODEL.trainer) {
      for (const inner of protobufFields(file, field.bytes)) {
        if (inner.number === TRAINER.modelType) modelType = numberOf(inner);
        if (inner.number === TRAINER.unknown) unknown = numberOf(inner);
        if (inner.number === TRAINER.byteFallback && numberOf(inner) !== 0) unsupported.push('bytes as a fallback');
      }
    } else if (field.number === MODEL.normalizer) {
      for (const inner of protobufFields(file, field.bytes)) {
        if (inner.number === NORMALIZER.charsmap && 'bytes' in inner) charsmap = inner.bytes;
        const flags = [NORMALIZER.addDummyPrefix, NORMALIZER.removeExtraWhitespaces, NORMALIZER.escapeWhitespaces];
        if (flags.includes(inner.number) && numberOf(inner) === 0) unsupported.push('spaces that are kept as they are');
      }
    }
  }
  if (modelType !== UNIGRAM) unsupported.push(`a model of type ${modelType} (unigram is ${UNIGRAM})`);
  if (unsupported.length > 0)
    throw new InvalidFileError(file, `has what T5's has not: ${unsupported.slice(0, 5).join('; ')}`);
  if (pieces.length === 0) throw new InvalidFileError(file, 'expected a sentencepiece model, found no pieces');
  if (unknown >= pieces.length) {
    throw new InvalidFileError(file, `the unknown piece is number ${unknown} of ${pieces.length}`);
  }
  return { pieces, unknown, charsmap: charsmap?.length ? charsmap : undefined };
}

function readPiece(file: string, bytes: Uint8Array): { piece: [string, number]; type: number } {
  let [text, score, type] = ['', 0, NORMAL];
  for (const field of protobufFields(file, bytes)) {
    if (field.number === PIECE.piece && 'bytes' in field) text = new TextDecoder().decode(field.bytes);
    if (field.number === PIECE.score && 'float32' in field) score = field.float32;
    if (field.number === PIECE.type) type = numberOf(field);
  }
  if (text === '' || !Number.isFinite(score)) throw new InvalidFileError(file, 'has a piece without text or score');
  return { piece: [text, score], type };
}

function numberOf(field: Field): number {
  return 'varint' in field ? field.varint : Number.NaN;
}
