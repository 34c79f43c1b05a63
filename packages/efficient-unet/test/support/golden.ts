import { fixtures } from '@mezzotint/testing';

export { relativeError, toTensor } from '@mezzotint/testing';

export const { readJson, readTensors } = fixtures(new URL('../fixtures/', import.meta.url));
