import { library } from '@mezzotint/tsup';

export default library();
