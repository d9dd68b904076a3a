using System.Net;

namespace ModelGen;

/// <summary>
/// Training by several processes at once, each with a CUDA device of its own (<see cref="TrainerOptions.DataParallel"/>): every process, a rank, steps on examples of its own, the gradients of all are added between the backward pass and the
/// optimizer, and all ranks make the same update. Weights, optimizer and step count so are the same everywhere, and a checkpoint of any rank is that of all.
/// </summary>
/// <remarks>
/// A step of n ranks is a step of one process that accumulates the micro-batches of all of them (<see cref="TrainerOptions.AccumulationSteps"/> n times as large), rank 0's first: gradients are averaged over micro-batches, dropout draws what it would
/// there, and <see cref="Trainer.GradientNorm"/> is that of all. The loss that a step gives is that of the rank's own examples, and so is what a recurrence carries. NCCL adds the gradients, where its library (<c>libnccl.so.2</c>) is installed.
/// </remarks>
public sealed record DataParallel
{
    private readonly int _rank;
    private readonly int _ranks = 1;
    private readonly TimeSpan _timeout = TimeSpan.FromMinutes(1);

    /// <summary>The number of this process among all, from 0 on.</summary>
    /// <exception cref="ArgumentOutOfRangeException">It is negative.</exception>
    public required int Rank
    {
        get => _rank;
        init
        {
            ArgumentOutOfRangeException.ThrowIfNegative(value, nameof(Rank));
            _rank = value;
        }
    }

    /// <summary>How many processes there are.</summary>
    /// <exception cref="ArgumentOutOfRangeException">It is not from 1 to 4,096.</exception>
    public required int Ranks
    {
        get => _ranks;
        init
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(value, 1, nameof(Ranks));
            ArgumentOutOfRangeException.ThrowIfGreaterThan(value, 4096, nameof(Ranks));
            _ranks = value;
        }
    }

    /// <summary>Where rank 0 listens, over TCP, and the others find it: the same on all of them. Whoever reaches it can keep the ranks from meeting, so it belongs to a network that is trusted.</summary>
    public required IPEndPoint Address { get; init; }

    /// <summary>How long ranks wait for each other before training. Default: one minute.</summary>
    /// <exception cref="ArgumentOutOfRangeException">It is not above zero, or above a day.</exception>
    public TimeSpan Timeout
    {
        get => _timeout;
        init
        {
            if (value <= TimeSpan.Zero || value > TimeSpan.FromDays(1))
                throw new ArgumentOutOfRangeException(nameof(Timeout), value, "Expected a time above zero, of a day at the most.");
            _timeout = value;
        }
    }

    /// <summary>The library that adds gradients; tests have their own.</summary>
    internal Func<Runtime.NcclLibrary> Library { get; init; } = Runtime.NcclLibrary.Installed;
}
