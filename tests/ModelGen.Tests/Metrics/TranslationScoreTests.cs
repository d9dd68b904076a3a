using System.Text.Json;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Metrics;

public sealed class TranslationScoreTests
{
    /// <summary>The example of sacrebleu's documentation, with the figures that it gives there.</summary>
    [Fact]
    public void The_published_example_has_its_published_score()
    {
        string[] hypotheses = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."];
        string[][] references =
        [
            ["The dog bit the man.", "The dog had bit the man."],
            ["It was not unexpected.", "No one was surprised."],
            ["The man bit him first.", "The man had bitten the dog."],
        ];
        Bleu bleu = new(), plain = new(BleuTokenization.None);
        Chrf chrf = new();
        for (int i = 0; i < hypotheses.Length; i++)
        {
            bleu.Add(hypotheses[i], references[i]);
            plain.Add(hypotheses[i], references[i]);
            chrf.Add(hypotheses[i], references[i]);
        }

        Assert.Equal(48.530827, bleu.Score().Score, 1e-6);
        Assert.Equal(49.1919566, plain.Score().Score, 1e-6);
        Assert.Equal(59.73, chrf.Score, 0.01);
    }

    /// <summary>Random translations with all that the tokenization knows of, and their scores by sacrebleu 2.6 (tests/fixtures/make_metrics.py).</summary>
    [Fact]
    public void Scores_are_those_of_sacrebleu()
    {
        using JsonDocument file = JsonDocument.Parse(File.ReadAllBytes(SourceTree.Fixture(Path.Combine("metrics", "sacrebleu.json"))));
        Assert.Equal(120, file.RootElement.GetArrayLength());
        foreach (JsonElement known in file.RootElement.EnumerateArray())
        {
            string[] hypotheses = known.GetProperty("hypotheses").Deserialize<string[]>()!;
            string[][] references = known.GetProperty("references").Deserialize<string[][]>()!;
            Bleu bleu = new(), lower = new(BleuTokenization.None, lowercase: true), raw = new(smoothing: BleuSmoothing.None);
            Chrf chrf = new(), words = new(wordOrder: 2, lowercase: true);
            for (int i = 0; i < hypotheses.Length; i++)
            {
                bleu.Add(hypotheses[i], references[i]);
                lower.Add(hypotheses[i], references[i]);
                raw.Add(hypotheses[i], references[i]);
                chrf.Add(hypotheses[i], references[i]);
                words.Add(hypotheses[i], references[i]);
            }

            BleuScore score = bleu.Score();
            Near("bleu", score.Score);
            Near("bp", score.BrevityPenalty);
            Assert.Equal(known.GetProperty("lengths").Deserialize<long[]>()!, new[] { score.Length, score.ReferenceLength });
            foreach ((double expected, double found) in known.GetProperty("precisions").Deserialize<double[]>()!.Zip(score.Precisions))
            {
                Assert.Equal(expected, found, 1e-9);
            }

            Near("bleu_lowercase_none", lower.Score().Score);
            Near("bleu_unsmoothed", raw.Score().Score);
            Near("sentence_bleu", Bleu.Sentence(hypotheses[0], references[0]).Score);
            Near("chrf", chrf.Score);
            Near("chrf_plus_plus", words.Score);

            void Near(string name, double found) => Assert.Equal(known.GetProperty(name).GetDouble(), found, 1e-9);
        }
    }

    [Fact]
    public void A_translation_needs_a_reference()
    {
        Assert.Throws<ArgumentException>(() => new Bleu().Add("a"));
        Assert.Throws<ArgumentException>(() => new Chrf().Add("a"));
        Assert.Equal(0, new Bleu().Score().Score);
        Assert.Equal(0, new Chrf().Score);
        Assert.Throws<ArgumentOutOfRangeException>(() => new Chrf(wordOrder: 7));
    }
}
