namespace Corpora;

/// <summary>A short story about one hero: consecutive sentences belong together.</summary>
public sealed class Story
{
    internal Story(IReadOnlyList<TaggedSentence> sentences)
    {
        Sentences = sentences;
    }

    /// <summary>The sentences, in order.</summary>
    public IReadOnlyList<TaggedSentence> Sentences { get; }

    /// <summary>The words of all sentences, in lower case.</summary>
    public IEnumerable<string> Words => Sentences.SelectMany(sentence => sentence.Words);

    /// <summary>The story as people write it, in one line.</summary>
    public string Text => string.Join(' ', Sentences.Select(sentence => sentence.Text));
}

/// <summary>
/// Short stories over some four hundred words from a probabilistic grammar with parts of speech.
/// </summary>
/// <remarks>
/// <para>What a model can learn, and get wrong:</para>
/// <list type="bullet">
/// <item>who does what: kings, queens, princes, princesses, … sit on thrones and wear crowns; armadillos, foxes, … dig and sleep in burrows; farmers and sailors have deeds of their own. So
/// "king" occurs in the contexts of "queen", and not in those of "armadillo";</item>
/// <item>what reaches over sentences: the hero's name, pronoun (he, she, it), home and belongings, who found them and gave them back. An n-gram model cannot know these;</item>
/// <item>grammar: a and an, was and were, participles after "was", who after people and that after animals;</item>
/// <item>words of several parts of speech, which only their sentence tells apart, often by what comes after: <c>her</c> (her crown; saw her), <c>that</c> (that king; said that; the fox that), <c>to</c>
/// (to rest; to the castle), <c>light</c>, <c>saw</c>, <c>rest</c>, <c>watch</c>, <c>dance</c>, <c>plant</c>, <c>work</c>, <c>hunt</c>, <c>fish</c>, <c>well</c>, <c>back</c>, <c>left</c>, <c>round</c>, <c>fast</c>.</item>
/// </list>
/// <para>About a tenth of all sentences that the grammar can write are held out, by a hash of their words: no story of the training part has any of them, and most sentences of the held-out
/// stories are such. The same seed and counts give the same stories everywhere.</para>
/// <para>See examples/CharGpt for longer stories, in characters and without tags.</para>
/// </remarks>
public sealed class StoryCorpus
{
    /// <summary>The seed that the examples use.</summary>
    public const ulong DefaultSeed = 20;

    private StoryCorpus(IReadOnlyList<Story> training, IReadOnlyList<Story> heldOut)
    {
        Training = training;
        HeldOut = heldOut;
        HeldOutSentences = [.. heldOut.SelectMany(story => story.Sentences).Where(sentence => Partition.IsHeldOut(sentence.Line)).DistinctBy(sentence => sentence.Line)];
        Words = [.. training.SelectMany(story => story.Words).CountBy(word => word).OrderByDescending(pair => pair.Value).ThenBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => pair.Key)];
    }

    /// <summary>The stories to train on.</summary>
    public IReadOnlyList<Story> Training { get; }

    /// <summary>The held-out stories.</summary>
    public IReadOnlyList<Story> HeldOut { get; }

    /// <summary>The sentences to train on, story by story; a sentence may come several times.</summary>
    public IEnumerable<TaggedSentence> TrainingSentences => Training.SelectMany(story => story.Sentences);

    /// <summary>The sentences of the held-out stories that no training story of any seed has, each once.</summary>
    public IReadOnlyList<TaggedSentence> HeldOutSentences { get; }

    /// <summary>Every word of the training part, the most frequent first. With the default counts the held-out part has no other.</summary>
    public IReadOnlyList<string> Words { get; }

    /// <summary>Writes the stories.</summary>
    /// <param name="seed">The seed.</param>
    /// <param name="training">The number of stories to train on; about 55 words each.</param>
    /// <param name="heldOut">The number of held-out stories.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is negative.</exception>
    public static StoryCorpus Generate(ulong seed = DefaultSeed, int training = 4000, int heldOut = 400)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(training);
        ArgumentOutOfRangeException.ThrowIfNegative(heldOut);
        return new StoryCorpus(Write(seed, 0, training, heldOut: false), Write(seed, 1, heldOut, heldOut: true));
    }

    private static List<Story> Write(ulong seed, ulong stream, int count, bool heldOut)
    {
        var draw = new Draw(seed, stream);
        var stories = new List<Story>(count);
        for (int i = 0; i < count; i++)
            stories.Add(StoryWriter.Write(draw, heldOut));
        return stories;
    }
}
