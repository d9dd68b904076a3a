using System.Diagnostics;
using System.Reflection;
using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tests.Models;

namespace ModelGen.Tests.Runtime;

/// <summary>
/// Every public call on a session, a trainer or a team of workers is one critical section: another call that comes meanwhile, from whatever thread, is
/// refused before it has touched anything, and disposal frees nothing that is in use.
/// </summary>
[Collection(SerialCollection.Name)]
public sealed class CriticalSectionTests
{
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(60);

    public static TheoryData<Type> Guarded =>
        [typeof(CausalSession), typeof(FeedForwardSession), typeof(TokenTrainer), typeof(ClassifierTrainer), typeof(RegressionTrainer), typeof(WorkerTeam)];

    [Theory]
    [MemberData(nameof(Guarded))]
    public void Every_public_method_takes_part(Type type)
    {
        using GuardedSubject subject = Create(type);
        IEnumerable<string> methods = type.GetMethods(BindingFlags.Public | BindingFlags.Instance)
            .Where(static method => !method.IsSpecialName && method.DeclaringType != typeof(object))
            .Select(static method => method.Name);
        Assert.Equal(
            methods.Distinct().Order(StringComparer.Ordinal),
            subject.Calls.Keys.Where(static name => name[0] != '(').Select(static name => name.Split(',')[0]).Distinct().Append(nameof(IDisposable.Dispose)).Order(StringComparer.Ordinal));
    }

    [Theory]
    [MemberData(nameof(Guarded))]
    public void A_call_during_another_one_is_refused_and_changes_nothing(Type type)
    {
        string[] held;
        string[] others;
        using (GuardedSubject subject = Create(type))
        {
            held = [.. subject.Held];
            others = [.. subject.Calls.Keys.Where(static name => name[0] != '('), nameof(IDisposable.Dispose)];
        }

        foreach (string first in held)
        {
            float[] expected;
            using (GuardedSubject undisturbed = Create(type))
            {
                expected = [.. undisturbed.Calls[first](0), .. undisturbed.Probe()];
            }

            foreach (string second in others)
            {
                string pair = $"{second} during {first}";
                using GuardedSubject subject = Create(type);
                subject.Gate.Arm();
                float[] result = [];
                Exception? failure = null;
                var thread = new Thread(() => failure = Record.Exception(() => { result = subject.Calls[first](0); }));
                thread.Start();
                subject.Gate.AwaitHeld();
                Exception? refusal = Record.Exception(() =>
                {
                    if (second == nameof(IDisposable.Dispose))
                    {
                        subject.DisposeTarget();
                    }
                    else
                    {
                        subject.Calls[second](1);
                    }
                });
                subject.Calls["(properties)"](1);
                subject.Gate.Open();
                Assert.True(thread.Join(s_deadline), pair);
                Assert.True(failure is null, $"{pair}: {failure}");
                Assert.True(refusal is InvalidOperationException and not ObjectDisposedException, $"{pair}: {refusal?.ToString() ?? "not refused"}");
                float[] found = [.. result, .. subject.Probe()];
                Assert.True(found.AsSpan().SequenceEqual(expected), $"{pair}: expected {string.Join(' ', expected)}, found {string.Join(' ', found)}");
                Assert.True(subject.Mixtures == 0, $"{pair}: a plan met a mixture of two callers' inputs.");
                // An overload says after a comma which it is.
                Assert.Contains($"{second.Split(',')[0]} was called while {first.Split(',')[0]} is running", refusal!.Message, StringComparison.Ordinal);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Guarded))]
    public void Calls_of_two_threads_and_a_disposal_never_meet(Type type)
    {
        string[] calls;
        using (GuardedSubject subject = Create(type))
        {
            calls = [.. subject.Calls.Keys];
        }

        for (int first = 0; first < calls.Length; first++)
        {
            for (int second = first; second < calls.Length; second++)
            {
                // Alone, a thread is disposed of at once; two are waited for.
                Race(type, threads: 1, calls[first], calls[second]);
                Race(type, threads: 2, calls[first], calls[second]);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Guarded))]
    public void What_is_disposed_says_so(Type type)
    {
        using GuardedSubject subject = Create(type);
        subject.DisposeTarget();
        subject.DisposeTarget();
        subject.Calls["(properties)"](0);
        foreach (string name in subject.Calls.Keys.Where(static name => name[0] != '('))
        {
            Assert.Throws<ObjectDisposedException>(() => { subject.Calls[name](0); });
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void An_emitted_session_is_disposed_only_between_predictions(int threads)
    {
        WideMlp model = WideMlp.Create();
        float[] inputs = new float[WideMlp.InputSize];
        for (int round = 0; round < 5; round++)
        {
            FeedForwardSession session = model.CreateSession(new SessionOptions { Threads = threads });
            var predicting = new Thread(() =>
            {
                float[] outputs = new float[WideMlp.OutputSize];
                UntilDisposed(() => session.Predict(inputs, outputs), static () => Thread.SpinWait(300));
            });
            predicting.Start();
            Thread.Sleep(20);
            DisposeBetweenCalls(session.Dispose);
            Assert.True(predicting.Join(s_deadline));
        }
    }

    [Fact]
    public void A_refused_step_of_an_emitted_model_leaves_the_losses_alone()
    {
        const int Steps = 40;
        int size = LearningGpt.BatchSize * LearningGpt.SequenceLength;
        int[] own = [.. Enumerable.Range(0, size).Select(static i => i % 19)];
        int[] foreign = [.. Enumerable.Range(0, size).Select(static i => i * 7 % 5)];
        float[] expected = Losses(disturbed: false);
        Assert.Equal(expected, Losses(disturbed: true));

        float[] Losses(bool disturbed)
        {
            LearningGpt model = LearningGpt.Create(seed: 3);
            using TokenTrainer trainer = model.CreateTrainer(new Sgd { LearningRate = 0.1f }, new TrainerOptions { Threads = 2 });
            float[] losses = new float[Steps];
            bool stop = false;
            var other = new Thread(() =>
            {
                while (!Volatile.Read(ref stop))
                {
                    try
                    {
                        // Done between two steps, it changes nothing; refused during one, neither.
                        trainer.Evaluate(foreign, foreign);
                    }
                    catch (InvalidOperationException)
                    {
                    }
                }
            });
            if (disturbed)
            {
                other.Start();
            }

            for (int step = 0; step < Steps; step++)
            {
                while (true)
                {
                    try
                    {
                        losses[step] = trainer.Step(own, own);
                        break;
                    }
                    catch (InvalidOperationException)
                    {
                    }
                }
            }

            Volatile.Write(ref stop, true);
            if (disturbed)
            {
                Assert.True(other.Join(s_deadline));
            }

            return losses;
        }
    }

    private static GuardedSubject Create(Type type, int threads = 2)
        => type == typeof(CausalSession) ? new GuardedCausalSession(threads)
            : type == typeof(FeedForwardSession) ? new GuardedFeedForwardSession(threads)
            : type == typeof(WorkerTeam) ? new GuardedTeam(threads)
            : new GuardedTrainer(type, threads);

    private static void Race(Type type, int threads, string first, string second)
    {
        using GuardedSubject subject = Create(type, threads);
        int calls = 0;
        Exception?[] failures = new Exception?[2];
        Thread[] callers = [.. new[] { first, second }.Select((name, caller) => new Thread(() => failures[caller] = Record.Exception(() => UntilDisposed(() =>
        {
            subject.Calls[name](caller);
            Interlocked.Increment(ref calls);
        }, Pause))))];

        Array.ForEach(callers, static thread => thread.Start());
        SpinWait.SpinUntil(() => Volatile.Read(ref calls) > 0, s_deadline);
        Thread.Sleep(5);
        DisposeBetweenCalls(subject.DisposeTarget);
        if (first[0] == '(' || second[0] == '(')
        {
            // Properties never say that the object was disposed.
            subject.EndProperties();
        }

        Array.ForEach(callers, thread => Assert.True(thread.Join(s_deadline), $"{first} and {second}"));
        Assert.All(failures, failure => Assert.True(failure is null, $"{first} and {second}: {failure}"));
        Assert.True(calls > 0 && subject.Mixtures == 0, $"{first} and {second}: {calls} calls, {subject.Mixtures} mixtures");

        // Long enough, now and then, for a disposal to find its gap.
        static void Pause()
        {
            if (Random.Shared.Next(4) == 0)
            {
                Thread.Sleep(1);
            }
        }
    }

    /// <summary>Repeats a call, which may be refused, until its object has been disposed.</summary>
    private static void UntilDisposed(Action call, Action pause)
    {
        while (true)
        {
            try
            {
                call();
            }
            catch (ObjectDisposedException)
            {
                return;
            }
            catch (InvalidOperationException)
            {
            }

            pause();
        }
    }

    private static void DisposeBetweenCalls(Action dispose)
    {
        var clock = Stopwatch.StartNew();
        while (true)
        {
            try
            {
                dispose();
                return;
            }
            catch (InvalidOperationException) when (clock.Elapsed < s_deadline)
            {
            }
        }
    }
}
