using ModelGen.Benchmarks.Measuring;
using ModelGen.Runtime;

namespace ModelGen.Benchmarks.Rows;

internal static unsafe class CalibrationRow
{
    // Far larger than any cache.
    private const long BlockLength = 1L << 27;
    private const int Granule = 1 << 12;

    // Long enough that what the threads wait for each other does not count.
    private const int FmaPasses = 250;

    public static IEnumerable<Measurement> Measure(MeasureSettings settings)
    {
        MeasureSettings own = settings.Default(repeats: 7, seconds: 0.04);
        using var source = new FloatBlock(BlockLength);
        using var target = new FloatBlock(BlockLength / 2);
        foreach (int threads in settings.ThreadCounts(1, 2))
        {
            using var team = new WorkerTeam(threads, 0);
            yield return New("fma", threads, Stopclock.Run(own, team, static _ => Fma())) with { Flops = Calibration.FmaFlops * FmaPasses * threads };
            yield return New("read", threads, Stopclock.Run(own, team, worker => Read(source, worker))) with { Bytes = 4.0 * BlockLength };
            yield return New("read in four streams", threads, Stopclock.Run(own, team, worker => ReadStreams(source, worker))) with { Bytes = 4.0 * BlockLength };
            yield return New("copy", threads, Stopclock.Run(own, team, worker => Copy(source, target, worker))) with { Bytes = 4.0 * BlockLength };
            yield return New("copy past the caches", threads, Stopclock.Run(own, team, worker => CopyNonTemporal(source, target, worker))) with { Bytes = 4.0 * BlockLength };
        }
    }

    private static Measurement New(string name, int threads, double[] seconds)
        => new() { Row = "calibration", Case = name, Threads = threads, Seconds = seconds };

    private static void Fma()
    {
        for (int pass = 0; pass < FmaPasses; pass++)
        {
            Calibration.Fma();
        }
    }

    private static void Read(FloatBlock source, Worker worker)
    {
        worker.Range(source.Length, Granule, out long start, out long end);
        Calibration.Read(source.Pointer + start, end - start);
    }

    private static void ReadStreams(FloatBlock source, Worker worker)
    {
        worker.Range(source.Length, Granule, out long start, out long end);
        Calibration.ReadStreams(source.Pointer + start, end - start);
    }

    private static void Copy(FloatBlock source, FloatBlock target, Worker worker)
    {
        worker.Range(target.Length, Granule, out long start, out long end);
        Calibration.Copy(source.Pointer + start, target.Pointer + start, end - start);
    }

    private static void CopyNonTemporal(FloatBlock source, FloatBlock target, Worker worker)
    {
        worker.Range(target.Length, Granule, out long start, out long end);
        Calibration.CopyNonTemporal(source.Pointer + start, target.Pointer + start, end - start);
    }
}
