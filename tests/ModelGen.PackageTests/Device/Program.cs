// A user's program with a model for devices: runs where a driver is found, says why where there is none, and prints one fact to a line.
using System.Runtime.CompilerServices;
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

using DeviceNet.Trainer trainer = model.CreateTrainer(new AdamW { GradientClip = 1 }, new TrainerOptions { Device = Device.Cuda(0) });
using DeviceNet.Session there = model.CreateSession(new SessionOptions { Device = Device.Cuda(0) });
float[] inputs = new float[20], outputs = new float[3];
int[] targets = [0, 1, 2, 0];
for (int i = 0; i < 3; i++)
{
    trainer.Step(inputs, targets);
    there.Predict(inputs.AsSpan(0, 5), outputs);
}

long before = GC.GetTotalAllocatedBytes(precise: true);
for (int i = 0; i < 10; i++)
{
    trainer.Step(inputs, targets);
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

[Mlp(5, 7, 3)]
[Trainable(BatchSize = 4)]
[Cuda]
public partial class DeviceNet;
