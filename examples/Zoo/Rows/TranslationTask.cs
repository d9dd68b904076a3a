using Corpora;
using Examples;
using ModelGen;
using ModelGen.Plots;

namespace Zoo.Rows;

/// <summary>English to French: what both encoder–decoders of the zoo learn, and how they are measured.</summary>
internal sealed class TranslationTask
{
    /// <summary>Room for the words of either language.</summary>
    public const int Vocabulary = 512;

    private readonly VocabularyTokenizer _english;
    private readonly VocabularyTokenizer _french;

    private TranslationTask(TranslationCorpus corpus, int heldOut)
    {
        _english = WordTexts.TokenizerOf(corpus.Training.Select(pair => pair.EnglishLine), Vocabulary, unit: TextUnit.Word);
        _french = WordTexts.TokenizerOf(corpus.Training.Select(pair => pair.FrenchLine), Vocabulary, unit: TextUnit.Word);
        SequencePairs Pairs(IEnumerable<SentencePair> pairs) => SequencePairs.Of(pairs.Select(pair => _english.EncodeText(pair.EnglishLine)), pairs.Select(pair => _french.EncodeText(pair.FrenchLine, beginning: true, end: true)), _french.Vocabulary);
        Training = Pairs(corpus.Training);
        HeldOut = Pairs(corpus.HeldOut.Take(heldOut));
    }

    public SequencePairs Training { get; }

    public SequencePairs HeldOut { get; }

    /// <summary>Writes the sentences.</summary>
    /// <param name="training">The number to train on.</param>
    /// <param name="heldOut">The number held out.</param>
    public static TranslationTask Generate(int training, int heldOut) => new(TranslationCorpus.Generate(training: training), heldOut);

    /// <summary>The share of held-out sentences that are translated word for word.</summary>
    public double ExactMatch(EncoderDecoderSession session, int beams)
    {
        var accuracy = new SequenceAccuracy();
        HeldOut.Decode(session, beams, (expected, output) => accuracy.Add(expected, output));
        return accuracy.ExactMatch;
    }

    /// <summary>The ids of a sentence that people wrote.</summary>
    /// <exception cref="UserException">It has words that the grammar has not, or too many.</exception>
    public int[] Encode(string sentence)
    {
        int[] ids = _english.EncodeText(string.Join(' ', TranslationCorpus.TokenizeEnglish(sentence)));
        return ids.Length is > 0 and <= TranslationCorpus.MaximumLength && !ids.Contains(_english.Vocabulary.UnknownId)
            ? ids
            : throw new UserException($"\"{sentence}\": expected 1 to {TranslationCorpus.MaximumLength} words that the grammar has, such as \"I am not a student .\".");
    }

    /// <summary>A translation as people write it.</summary>
    public string Translate(EncoderDecoderSession session, int beams, string sentence)
        => TranslationCorpus.WriteFrench(_french.DecodeText(HeldOut.Decode(session, beams, Encode(sentence)).Content).Split(' '));

    /// <summary>What each word of a translation attends to: source words × target words.</summary>
    public void DrawAttention(EncoderDecoderSession session, int beams, string sentence, string title, string path)
    {
        int[] source = Encode(sentence);
        Hypothesis found = HeldOut.Decode(session, beams, source);
        int[] written = found.Tokens.ToArray();
        var weights = new float[written.Length * source.Length];
        for (int t = 0; t < written.Length; t++)
            found.Alignment.Slice(t * session.AlignmentLength, source.Length).CopyTo(weights.AsSpan(t * source.Length));
        string Word(VocabularyTokenizer of, int id) => id == of.Vocabulary.EndId ? "(end)" : of.Vocabulary[id];
        Pictures.AttentionMap(title, weights, [.. written.Select(id => id < _french.VocabularySize ? Word(_french, id) : "?")], [.. source.Select(id => Word(_english, id))]).SaveBoth(path);
    }
}
