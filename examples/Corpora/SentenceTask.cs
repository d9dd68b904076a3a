namespace Corpora;

/// <summary>A sentence and its class.</summary>
/// <param name="Sentence">The sentence.</param>
/// <param name="Label">The number of its class.</param>
public sealed record LabelledSentence(TaggedSentence Sentence, int Label);

/// <summary>Sentences to classify, a few to train on and many held out, over the words and forms of <see cref="StoryCorpus"/>.</summary>
public sealed class SentenceTask
{
    private SentenceTask(IReadOnlyList<string> classes, IReadOnlyList<LabelledSentence> training, IReadOnlyList<LabelledSentence> heldOut)
    {
        Classes = classes;
        Training = training;
        HeldOut = heldOut;
    }

    /// <summary>The names of the classes.</summary>
    public IReadOnlyList<string> Classes { get; }

    /// <summary>The sentences to train on, each once, as many of each class.</summary>
    public IReadOnlyList<LabelledSentence> Training { get; }

    /// <summary>The held-out sentences, each once, as many of each class.</summary>
    public IReadOnlyList<LabelledSentence> HeldOut { get; }

    /// <summary>
    /// Whether a sentence is of this world: "The king wore the golden crown." is, and "The hare wore the golden crown." and "The king ate the beetles." are not.
    /// </summary>
    /// <remarks>
    /// Every subject and every deed is as frequent in both classes, so that no single word tells anything: a model must know who does what. The stories tell, and 64 labels do not: what a
    /// model brings along from them shows. No implausible sentence is in the stories.
    /// </remarks>
    /// <param name="seed">The seed.</param>
    /// <param name="training">The number of sentences to train on.</param>
    /// <param name="heldOut">The number of held-out sentences.</param>
    public static SentenceTask Plausible(ulong seed = 1, int training = 64, int heldOut = 1000) => Generate(["implausible", "plausible"], seed, training, heldOut, clefts: true, (draw, label) =>
    {
        Realm actors = draw.One(StoryWorld.Realms);
        return Clause.Random(actors, label == 1 ? actors : draw.Other(StoryWorld.Realms, actors), draw);
    });

    /// <summary>
    /// Who acts, when a person and an animal meet: "The fox saw the queen." and "The queen was seen by the fox." are of one class, "The queen saw the fox." is of the other.
    /// </summary>
    /// <remarks>Each sentence names one of both, in active and passive, the place first or last: neither words nor their order alone tell, only both together. (There are no clefts, whose "who" and
    /// "that" would tell.)</remarks>
    /// <param name="seed">The seed.</param>
    /// <param name="training">The number of sentences to train on.</param>
    /// <param name="heldOut">The number of held-out sentences.</param>
    public static SentenceTask Agent(ulong seed = 1, int training = 64, int heldOut = 1000) => Generate(["an animal acts", "a person acts"], seed, training, heldOut, clefts: false, (draw, label) =>
    {
        Realm people = draw.Other(StoryWorld.Realms, StoryWorld.Wild);
        return label == 1 ? Clause.Meeting(people, StoryWorld.Wild, draw) : Clause.Meeting(StoryWorld.Wild, people, draw);
    });

    private static SentenceTask Generate(IReadOnlyList<string> classes, ulong seed, int training, int heldOut, bool clefts, Func<Draw, int, Clause> clause)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(training);
        ArgumentOutOfRangeException.ThrowIfNegative(heldOut);
        return new SentenceTask(classes, Write(seed, 0, training, false), Write(seed, 1, heldOut, true));

        List<LabelledSentence> Write(ulong seed, ulong stream, int count, bool heldOut)
        {
            var draw = new Draw(seed, stream);
            var seen = new HashSet<string>();
            var sentences = new List<LabelledSentence>(count);
            while (sentences.Count < count)
            {
                int label = sentences.Count % classes.Count;
                Clause drawn = clause(draw, label);
                TaggedSentence sentence = drawn.Sentence(draw.One([.. drawn.Forms.Where(form => clefts || form != ClauseForm.Cleft)]));
                if (Partition.IsHeldOut(sentence.Line) == heldOut && seen.Add(sentence.Line))
                    sentences.Add(new LabelledSentence(sentence, label));
            }
            draw.Shuffle(sentences);
            return sentences;
        }
    }
}
