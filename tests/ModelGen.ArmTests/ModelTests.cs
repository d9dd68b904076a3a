using ModelGen.Tests.Infrastructure;

namespace ModelGen.ArmTests;

/// <summary>Emitted plans on arm64: training forward and backward, evaluation, prefill and decode.</summary>
[Collection(ArmTestGroup.Name)]
public sealed class ModelTests(ArmFixture fixture)
{
    private const double Tolerance = 1e-5;

    public static TheoryData<string, string> Runs
    {
        get
        {
            var runs = new TheoryData<string, string>();
            foreach (ModelScenario model in ArmFixture.Models)
            {
                runs.Add(model.Name, ArmFixture.Oldest);
                runs.Add(model.Name, ArmFixture.Newest);
            }

            return runs;
        }
    }

    /// <summary>
    /// The same assembly on the same memory, under the JIT of this machine at 128 bits and on arm64; and what the graph says in double precision.
    /// </summary>
    [ArmTheory]
    [MemberData(nameof(Runs))]
    public void Losses_gradients_and_logits_are_those_of_x64(string model, string processor)
    {
        (MemoryImage image, IReadOnlyList<Readout> readouts, byte[] here) = fixture.Run(model);
        byte[] arm = fixture.Program.RunEmulated(image.ToArray(), processor);
        image.CheckRedZones(here);
        image.CheckRedZones(arm);
        foreach (Readout readout in readouts)
        {
            ReadOnlySpan<float> expected = MemoryImage.Floats(here, readout.Offset, readout.Expected.Length);
            ReadOnlySpan<float> actual = MemoryImage.Floats(arm, readout.Offset, readout.Expected.Length);
            Compare.RelativeToNorm(Array.ConvertAll(readout.Expected, x => (float)x), expected, Tolerance, $"{model}, {readout.Name}, x64 against double precision");
            Compare.RelativeToNorm(expected, actual, Tolerance, $"{model}, {readout.Name}, {processor} against x64");
        }
    }
}
