namespace ModelGen;

/// <summary>How a text is cut into tokens.</summary>
public enum TokenizerKind
{
    /// <summary>SentencePiece's byte-pair encoding: characters are merged by their pieces' scores, and what has no piece becomes bytes. GGUF calls it <c>llama</c>.</summary>
    SentencePiece,

    /// <summary>GPT-2's byte-pair encoding: bytes are merged by the rank of pairs, within words that a pattern finds. GGUF calls it <c>gpt2</c>.</summary>
    ByteLevel,

    /// <summary>BERT's longest pieces of words. GGUF calls it <c>bert</c>.</summary>
    WordPiece,

    /// <summary>SentencePiece's unigram language model: the pieces whose scores have the highest sum. GGUF calls it <c>t5</c>.</summary>
    Unigram,
}

/// <summary>What a token is for. The numbers are those of SentencePiece and of GGUF.</summary>
public enum TokenKind
{
    /// <summary>A piece of text.</summary>
    Normal = 1,

    /// <summary>Stands for what has no token.</summary>
    Unknown = 2,

    /// <summary>No text: the beginning or the end of one, a turn of a dialogue.</summary>
    Control = 3,

    /// <summary>A text that is always a token of its own.</summary>
    UserDefined = 4,

    /// <summary>Stands for nothing.</summary>
    Unused = 5,

    /// <summary>A byte of a character that has no piece.</summary>
    Byte = 6,
}

/// <summary>The tokens of a model and how they come about, as files hold them.</summary>
public sealed record TokenizerVocabulary
{
    /// <summary>How a text is cut.</summary>
    public required TokenizerKind Kind { get; init; }

    /// <summary>The tokens by id, spelled as GGUF files do: with ▁ for a space (SentencePiece, Unigram), with a character for each byte (byte level), or with ▁ before a piece that begins a word (WordPiece).</summary>
    public required IReadOnlyList<string> Tokens { get; init; }

    /// <summary>What each token is for.</summary>
    public required IReadOnlyList<TokenKind> Kinds { get; init; }

    /// <summary>SentencePiece and Unigram: the pieces' scores, the highest merged first or logarithms of probabilities. Empty otherwise.</summary>
    public IReadOnlyList<float> Scores { get; init; } = [];

    /// <summary>Byte level: pairs in the order in which they are merged, each with a space between. Empty otherwise.</summary>
    public IReadOnlyList<string> Merges { get; init; } = [];

    /// <summary>Byte level: the name of the pattern that finds words, as GGUF names it: <c>gpt-2</c>, <c>llama-bpe</c>, <c>qwen2</c>, ….</summary>
    public string Pattern { get; init; } = "gpt-2";

    /// <summary>The token that a text begins with; null if there is none.</summary>
    public int? BeginningToken { get; init; }

    /// <summary>The token that a text ends with; null if there is none.</summary>
    public int? EndToken { get; init; }

    /// <summary>More tokens that end an answer: of a turn of a dialogue, or of a message that asks for a tool.</summary>
    public IReadOnlyList<int> TurnEndTokens { get; init; } = [];

    /// <summary>The token for what has none; null if there is none.</summary>
    public int? UnknownToken { get; init; }

    /// <summary>Whether prompts begin with <see cref="BeginningToken"/>.</summary>
    public bool AddsBeginning { get; init; }

    /// <summary>Whether prompts end with <see cref="EndToken"/>, as those of encoders do.</summary>
    public bool AddsEnd { get; init; }

    /// <summary>Whether texts are composed canonically first (NFC), as many <c>tokenizer.json</c> say; GGUF files do not tell it.</summary>
    public bool Composes { get; init; }

    /// <summary>WordPiece: whether letters become small and lose their accents.</summary>
    public bool Lowercases { get; init; } = true;

    /// <summary>SentencePiece and Unigram: whether a space is put before a text.</summary>
    public bool AddsSpace { get; init; }

    /// <summary>SentencePiece and Unigram: whether runs of spaces become one, and none is left at the ends of a text.</summary>
    public bool RemovesExtraSpaces { get; init; }

    /// <summary>SentencePiece and Unigram: how characters are made alike, as SentencePiece's files hold it (<c>precompiled_charsmap</c>). Empty where they stay as they are.</summary>
    public IReadOnlyList<byte> CharacterMap { get; init; } = [];
}
