// Emoji of npm packages: found, captioned and split; and written as folders.
export {
  type Emoji,
  type EmojiOptions,
  type EmojiPart,
  type EmojiSetName,
  type EmojiSetSource,
  emojiCaptions,
  emojiPart,
  emojiSets,
  listEmoji,
} from './emoji.js';
export {
  type EmojiClassesOptions,
  type EmojiClassesSummary,
  type EmojiClassName,
  type EmojiFolderOptions,
  type EmojiFolderSummary,
  emojiClasses,
  writeEmojiClasses,
  writeEmojiFolder,
} from './emoji-folders.js';
