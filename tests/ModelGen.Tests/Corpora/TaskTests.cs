using global::Corpora;

namespace ModelGen.Tests.Corpora;

/// <summary>The smaller corpora: sentences to classify, paraphrases, mappings and a series.</summary>
public sealed class TaskTests
{
    public static TheoryData<bool> Tasks => [true, false];

    private static SentenceTask Task(bool plausible) => plausible ? SentenceTask.Plausible() : SentenceTask.Agent();

    [Theory]
    [MemberData(nameof(Tasks))]
    public void Tasks_are_balanced_disjoint_and_the_same_each_time(bool plausible)
    {
        SentenceTask task = Task(plausible), again = Task(plausible);
        Assert.Equal(task.HeldOut.Select(one => (one.Sentence.Line, one.Label)), again.HeldOut.Select(one => (one.Sentence.Line, one.Label)));
        Assert.Equal(64, task.Training.Count);
        Assert.Equal(32, task.Training.Count(one => one.Label == 1));
        Assert.Equal(500, task.HeldOut.Count(one => one.Label == 1));
        Assert.Empty(task.Training.Select(one => one.Sentence.Line).Intersect(task.HeldOut.Select(one => one.Sentence.Line)));
    }

    /// <summary>The best classifier that counts words, without knowing which stand together, is hardly better than a coin.</summary>
    [Theory]
    [MemberData(nameof(Tasks))]
    public void No_single_word_tells_the_class(bool plausible)
    {
        SentenceTask task = plausible ? SentenceTask.Plausible(training: 4000, heldOut: 2000) : SentenceTask.Agent(training: 4000, heldOut: 2000);
        var scores = new Dictionary<string, double>();
        foreach (IGrouping<string, LabelledSentence> group in task.Training.SelectMany(one => one.Sentence.Words.Distinct().Select(word => (word, one))).GroupBy(pair => pair.word, pair => pair.one))
        {
            // Naive Bayes, with add-one smoothing.
            double positive = group.Count(one => one.Label == 1) + 1, negative = group.Count(one => one.Label == 0) + 1;
            scores[group.Key] = Math.Log(positive / negative);
        }
        double accuracy = task.HeldOut.Average(one => (one.Sentence.Words.Distinct().Sum(word => scores.GetValueOrDefault(word)) > 0) == (one.Label == 1) ? 1.0 : 0.0);
        Assert.InRange(accuracy, 0.4, 0.6);
    }

    /// <summary>Who acts in a held-out sentence, and who is acted on, is nobody that a label named, nor like them.</summary>
    [Fact]
    public void Who_acts_is_asked_of_words_that_no_label_had()
    {
        for (ulong seed = 1; seed <= 3; seed++)
        {
            SentenceTask task = SentenceTask.Agent(seed);
            HashSet<string> Words(IEnumerable<LabelledSentence> sentences) => [.. sentences.SelectMany(one => one.Sentence.Words)];
            HashSet<string> known = Words(task.Training), asked = Words(task.HeldOut);
            string[] people = ["king", "queen", "duke", "fox", "otter", "armadillo", "hare", "farmer", "baker", "sailor", "diver", "noble", "hungry", "poor", "bold"];
            Assert.DoesNotContain(people, word => known.Contains(word) && asked.Contains(word));
            Assert.Contains(people, known.Contains);
            Assert.Contains(people, asked.Contains);
            Assert.Contains("saw", known);
            Assert.Contains("saw", asked);
        }
    }

    /// <summary>The paraphrase and the distractors differ from the sentence in one word each, so that common words tell nothing.</summary>
    [Fact]
    public void Reworded_sentences_and_their_distractors_share_as_many_words()
    {
        StoryCorpus stories = StoryCorpus.Generate();
        IReadOnlyList<RewordedSentence> reworded = ParaphraseCorpus.Reword(stories.HeldOutSentences);
        Assert.True(reworded.Count > 300);
        Assert.Equal(reworded.Select(one => one.Distractors[0].Line), ParaphraseCorpus.Reword(stories.HeldOutSentences).Select(one => one.Distractors[0].Line));
        foreach (RewordedSentence one in reworded)
        {
            Assert.Equal(10, one.Distractors.Count);
            int Differences(TaggedSentence other) => one.Sentence.Words.Zip(other.Words).Count(pair => pair.First != pair.Second);
            Assert.All(one.Distractors.Append(one.Paraphrase), other => Assert.Equal((one.Sentence.Tagged.Count, 1), (other.Tagged.Count, Differences(other))));
            Assert.DoesNotContain(one.Paraphrase.Line, one.Distractors.Select(other => other.Line));
        }
        Assert.Empty(reworded.SelectMany(one => one.Distractors.Append(one.Paraphrase)).SelectMany(sentence => sentence.Words).Except(stories.Words));
    }

    /// <summary>Stories never say what is implausible: the pairs of subject and verb of their sentences are all plausible ones.</summary>
    [Fact]
    public void Implausible_sentences_are_not_in_stories()
    {
        HashSet<string> lines = [.. StoryCorpus.Generate().TrainingSentences.Select(sentence => sentence.Line)];
        SentenceTask task = SentenceTask.Plausible(training: 5000, heldOut: 0);
        Assert.DoesNotContain(task.Training, one => one.Label == 0 && lines.Contains(one.Sentence.Line));
        Assert.Contains(task.Training, one => one.Label == 1 && lines.Contains(one.Sentence.Line));
        Assert.Empty(task.Training.Concat(task.HeldOut).SelectMany(one => one.Sentence.Words).Except(StoryCorpus.Generate().Words));
    }

    [Fact]
    public void Paraphrases_share_their_meaning_and_are_not_in_stories()
    {
        IReadOnlyList<Paraphrase> pairs = ParaphraseCorpus.Generate();
        Assert.Equal(200, pairs.Count);
        StoryCorpus stories = StoryCorpus.Generate();
        HashSet<string> lines = [.. stories.TrainingSentences.Select(sentence => sentence.Line)];
        string[] small = ["it", "was", "were", "who", "that", "by"];
        foreach (Paraphrase pair in pairs)
        {
            Assert.NotEqual(pair.First.Line, pair.Second.Line);
            Assert.DoesNotContain(pair.First.Line, lines);
            Assert.DoesNotContain(pair.Second.Line, lines);

            // But for the verb, whose participle may differ, the same words.
            IEnumerable<string> Content(TaggedSentence sentence) => sentence.Tagged.Where(word => word.Tag != PartOfSpeech.Verb && !small.Contains(word.Word)).Select(word => word.Word).Order();
            Assert.Equal(Content(pair.First), Content(pair.Second));
        }
        Assert.Empty(pairs.SelectMany(pair => pair.First.Words.Concat(pair.Second.Words)).Except(stories.Words));
    }

    [Fact]
    public void Mappings_follow_one_rule_in_a_prompt_and_hold_rules_out()
    {
        var random = new CounterRandom(5);
        var rules = new HashSet<string>[] { [], [] };
        var tokens = new int[100 * FewShotMappings.PairLength];
        for (int trial = 0; trial < 4000; trial++)
        {
            bool heldOut = trial % 4 == 3;
            FewShotMappings.Write(ref random, heldOut, tokens);
            var digits = new SortedDictionary<int, int>();
            for (int i = 0; i < tokens.Length; i += FewShotMappings.PairLength)
                Assert.Equal(tokens[i + 1], digits.TryGetValue(tokens[i], out int known) ? known : digits[tokens[i]] = tokens[i + 1]);
            Assert.Equal(FewShotMappings.Choices, digits.Values.Distinct().Count());
            Assert.All(digits.Values, digit => Assert.InRange(digit, FewShotMappings.Choices, FewShotMappings.VocabularySize - 1));
            rules[heldOut ? 1 : 0].Add(string.Join(',', digits.Values));
        }
        Assert.Empty(rules[0].Intersect(rules[1]));
        Assert.True(rules[0].Count > 2500);
        Assert.Equal("a 1 h 8", FewShotMappings.Show([0, 8, 7, 15]));
        Assert.True(FewShotMappings.IsAnswer(1) && !FewShotMappings.IsAnswer(2));
        Assert.Throws<ArgumentException>(() =>
        {
            var other = new CounterRandom(1);
            FewShotMappings.Write(ref other, false, new int[7]);
        });
    }

    /// <summary>Without a pair, one of eight digits. With one: the same letter again, or one of seven digits. Then by counting prompts.</summary>
    [Fact]
    public void The_best_accuracy_of_few_shots_is_known()
    {
        Assert.Equal(1 / 8.0, FewShotMappings.BestAccuracy(0), 1e-12);
        Assert.Equal((1 / 8.0) + (7 / 8.0 / 7), FewShotMappings.BestAccuracy(1), 1e-12);
        Assert.Equal(1, FewShotMappings.BestAccuracy(400), 1e-9);
        var random = new CounterRandom(9);
        double[] sums = new double[11];
        const int Trials = 20_000;
        for (int trial = 0; trial < Trials; trial++)
        {
            var seen = new HashSet<int>();
            for (int shots = 0; shots < sums.Length; shots++)
            {
                int letter = random.NextInt32(8);
                sums[shots] += seen.Contains(letter) ? 1 : 1.0 / (8 - seen.Count);
                seen.Add(letter);
            }
        }
        for (int shots = 0; shots < sums.Length; shots++)
            Assert.Equal(sums[shots] / Trials, FewShotMappings.BestAccuracy(shots), 0.012);
    }

    [Fact]
    public void The_series_is_seasonal_noisy_and_the_same_each_time()
    {
        SeasonalSeries series = SeasonalSeries.Generate(hours: 24 * 7 * 60);
        Assert.Equal(series.Values, SeasonalSeries.Generate(hours: 24 * 7 * 60).Values);
        Assert.NotEqual(series.Values, SeasonalSeries.Generate(seed: 2, hours: 24 * 7 * 60).Values);
        Assert.All(series.Values, value => Assert.InRange(value, 1e-3f, 20f));
        double Mean(Func<int, bool> hours) => Enumerable.Range(0, series.Values.Count).Where(hours).Average(t => series.Values[t]);

        // Two peaks on weekdays, one at weekends.
        Assert.True(Mean(t => t % 24 == 8 && !SeasonalSeries.IsWeekend(t)) > 2 * Mean(t => t % 24 == 13 && !SeasonalSeries.IsWeekend(t)));
        Assert.True(Mean(t => t % 24 == 14 && SeasonalSeries.IsWeekend(t)) > 2 * Mean(t => t % 24 == 4 && SeasonalSeries.IsWeekend(t)));

        // The same hour a day later differs by the noise and by the level's way: neither nothing nor all.
        double difference = Enumerable.Range(0, series.Values.Count - (24 * 7)).Average(t => Math.Abs(Math.Log(series.Values[t + (24 * 7)] / series.Values[t])));
        Assert.InRange(difference, 0.1, 0.6);
        var features = new float[SeasonalSeries.Features];
        SeasonalSeries.CopyFeatures((5 * 24) + 6, features);
        Assert.Equal([1f, 0f, 1f], features.Select(x => MathF.Round(x, 5)));
    }
}
