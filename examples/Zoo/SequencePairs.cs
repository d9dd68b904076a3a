using ModelGen;

namespace Zoo;

/// <summary>What an encoder–decoder learns from: sources, and targets between &lt;bos&gt; and &lt;eos&gt;.</summary>
internal sealed class SequencePairs(SequenceDataset sources, SequenceDataset targets, Vocabulary targetVocabulary)
{
    public static SequencePairs Of(IEnumerable<int[]> sources, IEnumerable<int[]> targets, Vocabulary targetVocabulary) => new(SequenceDataset.FromSequences(sources), SequenceDataset.FromSequences(targets), targetVocabulary);

    public int Count => sources.Count;

    /// <summary>Holds some pairs out, chosen by the seed.</summary>
    public (SequencePairs Training, SequencePairs HeldOut) Split(int heldOut, int seed)
    {
        double share = (heldOut + 0.5) / Count;
        ((SequenceDataset source, SequenceDataset heldOutSource), (SequenceDataset target, SequenceDataset heldOutTarget)) = (sources.Split(share, (ulong)seed), targets.Split(share, (ulong)seed));
        return (new SequencePairs(source, target, targetVocabulary), new SequencePairs(heldOutSource, heldOutTarget, targetVocabulary));
    }

    /// <summary>Trains on the pairs, in a new random order each time all were seen.</summary>
    public void Train(RowContext context, string what, int steps, SequencePairTrainer trainer, TrainingExport? export)
    {
        (int batch, int width, int length) = (trainer.BatchSize, trainer.SourceLength, trainer.SequenceLength);
        int[] rows = new int[batch], source = new int[batch * width], lengths = new int[batch], inputs = new int[batch * length], wanted = new int[batch * length];
        var loader = new SequenceBatchLoader(targets, batch, seed: (ulong)context.Seed);
        export?.Batch("source", source, batch, width).Batch("lengths", lengths, batch).Batch("inputs", inputs, batch, length).Batch("targets", wanted, batch, length);
        context.Train(what, steps, "pairs", batch, _ =>
        {
            loader.Next(rows);
            sources.CopyPadded(rows, targetVocabulary.PaddingId, source, lengths);
            targets.CopyShifted(rows, targetVocabulary.PaddingId, inputs, wanted);
            return trainer.Step(source, lengths, inputs, wanted);
        }, trainer);
    }

    /// <summary>Adds what is to be decoded to what another library repeats.</summary>
    public void Export(TrainingExport? export)
    {
        if (export is null)
            return;
        int[] rows = [.. Enumerable.Range(0, Count)], lengths = new int[Count];
        int[] source = new int[Count * sources.MaximumLength], inputs = new int[Count * (targets.MaximumLength - 1)], wanted = new int[inputs.Length];
        sources.CopyPadded(rows, targetVocabulary.PaddingId, source, lengths);
        targets.CopyShifted(rows, targetVocabulary.PaddingId, inputs, wanted);
        export.Data("source", source, Count, sources.MaximumLength).Data("lengths", lengths, Count).Data("targets", wanted, Count, targets.MaximumLength - 1);
    }

    /// <summary>Translates every source.</summary>
    /// <param name="session">The session.</param>
    /// <param name="beams">1 for the most probable token after the other.</param>
    /// <param name="each">Takes what is right and what was written, without beginnings and ends.</param>
    public void Decode(EncoderDecoderSession session, int beams, Action<int[], int[]> each)
    {
        BeamSearch search = Search(session, beams);
        for (int first = 0; first < Count; first += search.Capacity)
        {
            int count = Math.Min(search.Capacity, Count - first);
            for (int i = 0; i < count; i++)
                session.Encode(i * beams, sources.ToArray(first + i));
            search.Search([.. Enumerable.Repeat((int[])[targetVocabulary.BeginningId], count)]);
            for (int i = 0; i < count; i++)
                each(targets.ToArray(first + i)[1..^1], search.Result(i).Content.ToArray());
        }
    }

    /// <summary>Translates one source, with what each token attended to.</summary>
    public Hypothesis Decode(EncoderDecoderSession session, int beams, int[] source)
    {
        BeamSearch search = Search(session, beams, alignment: session.AlignmentLength > 0);
        session.Encode(0, source);
        search.Search([targetVocabulary.BeginningId]);
        return search.Result(0);
    }

    private BeamSearch Search(EncoderDecoderSession session, int beams, bool alignment = false)
        => new(session, new BeamSearchOptions { Beams = beams, MaxLength = 2 * targets.MaximumLength, EndTokens = [targetVocabulary.EndId], Alignment = alignment });
}
