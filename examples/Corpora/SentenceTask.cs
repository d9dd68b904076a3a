using System.Runtime.InteropServices;

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
    public static SentenceTask Plausible(ulong seed = 1, int training = 64, int heldOut = 1000) => Generate(["implausible", "plausible"], seed, training, heldOut, clefts: true, (draw, label, _) =>
    {
        Realm actors = draw.One(StoryWorld.Realms);
        return Clause.Random(actors, label == 1 ? actors : draw.Other(StoryWorld.Realms, actors), draw);
    });

    /// <summary>
    /// Who acts, when a person and an animal meet: "The fox saw the queen." and "The queen was seen by the fox." are of one class, "The queen saw the fox." is of the other.
    /// </summary>
    /// <remarks>
    /// <para>Each sentence names one of both, in active and passive, the place first or last: neither words nor their order alone tell, only both together. (There are no clefts, whose "who" and
    /// "that" would tell.)</para>
    /// <para>Half of the people and animals, and of the adjectives that only they have, are in the sentences to train on, the other half in the held-out ones: a model that knows no more than those
    /// labels can know that "saw" and "was seen by" are opposites, but not which of an otter and a duke is the animal. Who has read the stories can.</para>
    /// </remarks>
    /// <param name="seed">The seed, of the halves too.</param>
    /// <param name="training">The number of sentences to train on.</param>
    /// <param name="heldOut">The number of held-out sentences.</param>
    public static SentenceTask Agent(ulong seed = 1, int training = 64, int heldOut = 1000)
    {
        Realm[] known = [.. StoryWorld.Realms.Select(realm => Half(realm, seed, second: false))], others = [.. StoryWorld.Realms.Select(realm => Half(realm, seed, second: true))];
        return Generate(["an animal acts", "a person acts"], seed, training, heldOut, clefts: false, (draw, label, ofHeldOut) =>
        {
            Realm[] realms = ofHeldOut ? others : known;
            Realm wild = realms[Array.IndexOf(StoryWorld.Realms, StoryWorld.Wild)];
            Realm people = draw.Other(realms, wild);
            return label == 1 ? Clause.Meeting(people, wild, draw) : Clause.Meeting(wild, people, draw);
        });
    }

    /// <summary>Half of those who lead a walk of life, and of the adjectives that are theirs alone.</summary>
    private static Realm Half(Realm realm, ulong seed, bool second)
    {
        return realm with
        {
            Roles = Of(realm.Roles),
            Adjectives = Of(realm.Adjectives.Where(adjective => !StoryWorld.Realms.Any(other => other != realm && other.Adjectives.Contains(adjective)))),
        };

        T[] Of<T>(IEnumerable<T> all)
        {
            T[] shuffled = [.. all];
            new Draw(seed, 2).Shuffle(shuffled.AsSpan());
            int half = shuffled.Length / 2;
            return second ? shuffled[half..] : shuffled[..half];
        }
    }

    private static SentenceTask Generate(IReadOnlyList<string> classes, ulong seed, int training, int heldOut, bool clefts, Func<Draw, int, bool, Clause> clause)
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
                Clause drawn = clause(draw, label, heldOut);
                TaggedSentence sentence = drawn.Sentence(draw.One([.. drawn.Forms.Where(form => clefts || form != ClauseForm.Cleft)]));
                if (Partition.IsHeldOut(sentence.Line) == heldOut && seen.Add(sentence.Line))
                    sentences.Add(new LabelledSentence(sentence, label));
            }
            draw.Shuffle(CollectionsMarshal.AsSpan(sentences));
            return sentences;
        }
    }
}
