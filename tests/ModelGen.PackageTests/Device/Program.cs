// A user's program with a model for devices: runs where a driver is found, says why where there is none, and prints one fact to a line.
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ModelGen;

Console.WriteLine($"dynamic_code {RuntimeFeature.IsDynamicCodeSupported}");
DeviceNet model = DeviceNet.Create(seed: 1);
using (DeviceNet.Session session = model.CreateSession(new SessionOptions { Device = Device.Auto }))
{
    Console.WriteLine($"auto {session.Device}");
    session.Predict(new float[5], new float[3]);
}

if (args.Length == 0)
{
    return;
}

if (args[0] == "fails")
{
    // What the environment says is wrong with the library in the driver's place; whatever fails, nothing is left behind.
    try
    {
        using DeviceNet.Trainer failing = model.CreateTrainer(new AdamW { GradientClip = 1 }, new TrainerOptions { Device = Device.Cuda(0) });
        using DeviceNet.Session session = model.CreateSession(new SessionOptions { Device = Device.Cuda(0) });
        for (int i = 0; i < 4; i++)
        {
            failing.Step(new float[20], [0, 1, 2, 0]);
            session.Predict(new float[5], new float[3]);
        }
    }
    catch (CudaException exception)
    {
        Console.WriteLine($"fails {exception.ErrorName}: {exception.Message}");
    }

    Console.WriteLine($"left {Live()}");
    return;
}

using DeviceNet.Trainer trainer = model.CreateTrainer(new AdamW { GradientClip = 1 }, new TrainerOptions { Device = Device.Cuda(0) });
using DeviceNet.Session there = model.CreateSession(new SessionOptions { Device = Device.Cuda(0) });
LibraryNet network = LibraryNet.Create(seed: 1);
using LibraryNet.Trainer products = network.CreateTrainer(new AdamW(), new TrainerOptions { Device = Device.Cuda(0) });
Console.WriteLine($"products {products.Device.ProductLibrary ?? string.Join(' ', products.Device.Limitations)}");
float[] inputs = new float[20], outputs = new float[3];
int[] targets = [0, 1, 2, 0];
for (int i = 0; i < 3; i++)
{
    trainer.Step(inputs, targets);
    there.Predict(inputs.AsSpan(0, 5), outputs);
}

float[] rows = [.. Enumerable.Range(0, 20).Select(i => MathF.Sin(i))];
double sum = FirstLayer(network, rows);
for (int i = 0; i < 3; i++)
{
    products.Step(rows, targets);
}

if (products.Device.ProductLibrary is not null)
{
    // What the library in cuBLASLt's place computed first: the sums of the first layer.
    Console.WriteLine($"product {Math.Abs(FirstSum() - sum) < 1e-4 && Math.Abs(sum) > 1e-2}");
}

long before = GC.GetTotalAllocatedBytes(precise: true);
for (int i = 0; i < 10; i++)
{
    trainer.Step(inputs, targets);
    products.Step(rows, targets);
    there.Predict(inputs.AsSpan(0, 5), outputs);
}

Console.WriteLine($"allocated {GC.GetTotalAllocatedBytes(precise: true) - before}");
Console.WriteLine($"steps {trainer.StepCount}");
try
{
    using DeviceNet.Session none = model.CreateSession(new SessionOptions { Device = Device.Cuda(7) });
}
catch (CudaException exception)
{
    Console.WriteLine($"seventh {exception.Message}");
}

static double FirstLayer(LibraryNet network, float[] rows)
{
    ReadOnlySpan<float> weights = network.Parameter("fc1.weight");
    double sum = 0;
    for (int row = 0; row < 4; row++)
    {
        for (int i = 0; i < weights.Length; i++)
        {
            sum += rows[(row * 5) + (i % 5)] * weights[i];
        }
    }

    return sum;
}

[DllImport("libcuda.so.1", EntryPoint = "standin_live")]
static extern int Live();

[DllImport("libcublasLt.so.12", EntryPoint = "standin_blas_first_sum")]
static extern double FirstSum();

[Mlp(5, 7, 3)]
[Trainable(BatchSize = 4)]
[Cuda(Launches = CudaLaunches.Separate, Products = CudaProducts.CublasLt)]
public partial class LibraryNet;

[Mlp(5, 7, 3)]
[Trainable(BatchSize = 4)]
[Cuda]
public partial class DeviceNet;
